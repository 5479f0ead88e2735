"""Fixtures for the tests of the programs."""

import logging
from collections.abc import Generator

import pytest


@pytest.fixture
def root_log() -> Generator[None]:
    """Takes back what a command that runs in this process has made of the log."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)

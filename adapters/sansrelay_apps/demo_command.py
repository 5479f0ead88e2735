"""`sansrelay demo`."""

import sys

import click
from rich.console import Console

import trio
from sansrelay_apps.demo.run import DemoFailed, Result, run_demo
from sansrelay_apps.demo.show import LiveShow, PlainShow, print_table

__all__ = ["command"]


@click.command("demo")
def command() -> None:
    """Two agents, one executor, two cut connections: watch nothing get lost.

    Starts a rendezvous, an executor and two agents as processes of their own, on loopback, and cuts
    the executor's link and an agent's link in the middle of a transfer. Exit status 0 only if every
    byte came, in order, and no command ran twice.
    """
    console = Console()
    try:
        result = _run(console)
    except DemoFailed as failure:
        click.echo(f"sansrelay: demo: {failure}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    print_table(console, result.rows())
    for problem in result.problems:
        click.echo(f"sansrelay: demo: {problem}", err=True)
    if result.problems:
        sys.exit(1)
    console.print("Nothing lost, nothing run twice.")


def _run(console: Console) -> Result:
    if not console.is_terminal:
        return trio.run(run_demo, PlainShow(console))
    with LiveShow(console) as show:
        return trio.run(run_demo, show)

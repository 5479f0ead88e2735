# Every target sets up what it needs in .venv by itself; a bare machine with Python 3.11 and make is enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help demo test lint format proto proto-check protobuf-range vectors model fuzz coverage mutants interop soak \
	mutants-sim bench bench-test clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/.python:
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.all: pyproject.toml | $(VENV)/.python
	$(PIP) install -e '.[all]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/.python
	$(PIP) install -e '.[all,test]'
	@touch $@

$(VENV)/.lint: pyproject.toml | $(VENV)/.python
	$(PIP) install -e '.[all,test,lint]'
	@touch $@

demo: $(VENV)/.all  ## two agents, one executor, two cut connections, nothing lost and nothing run twice
	@$(BIN)/sansrelay demo

test: $(VENV)/.test  ## the tests (real Codex binaries aside: make interop)
	$(BIN)/python -m pytest -m 'not interop and not bench' -n 2 --dist loadfile $(ARGS)

lint: $(VENV)/.lint  ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.lint  ## lay the code out as ruff wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Generated code comes from a pinned, deliberately old protoc: a runtime refuses code newer than itself.
$(VENV)-proto/.done: Makefile
	$(PYTHON) -m venv $(VENV)-proto
	$(VENV)-proto/bin/python -m pip --disable-pip-version-check --quiet install 'grpcio-tools==1.74.0' 'mypy-protobuf==3.6.0' 'protobuf<7' 'setuptools<81'
	@touch $@

proto: $(VENV)-proto/.done  ## generate sansrelay/_pb from proto/
	PATH="$(CURDIR)/$(VENV)-proto/bin:$$PATH" $(VENV)-proto/bin/python tools/generate_proto.py

proto-check: proto  ## fail when the committed generated code is not what proto/ gives
	git diff --exit-code -- sansrelay/_pb

protobuf-range: $(VENV)/.test  ## the core's tests on the oldest and on the newest protobuf
	tools/protobuf_range.sh

vectors: $(VENV)/.test  ## write down anew what the conformance vectors expect: read the difference
	$(BIN)/python tools/vectors_frames.py --write
	$(BIN)/python tools/vectors_fill.py --write

model: $(VENV)/.test  ## the Promela model, by spin, and random walks of it through the code
	$(BIN)/python tools/model_check.py
	$(BIN)/python tools/model_conform.py

$(VENV)/.fuzz: pyproject.toml | $(VENV)/.python
	$(PIP) install -e '.[all,test,fuzz]'
	@touch $@

FUZZ_SECONDS ?= 600
fuzz: $(VENV)/.fuzz  ## ten minutes of fuzzing for each target
	$(BIN)/python tools/fuzz_targets.py --seconds $(FUZZ_SECONDS) $(ARGS)

$(VENV)/.mutation: pyproject.toml | $(VENV)/.python
	$(PIP) install -e '.[all,test,mutation]'
	@touch $@

coverage: $(VENV)/.test  ## every line and branch of the core, by the tests without sockets
	$(BIN)/python tools/coverage_core.py

mutants: $(VENV)/.mutation  ## small faults in the core: the tests have to notice 90 % of each module's
	timeout 5400 $(BIN)/python tools/mutation.py $(ARGS)

# 75: npm's registry can't be reached; the tests then skip, each naming the binary that is missing.
interop: $(VENV)/.test  ## the tests against real Codex binaries (fetched once from npm)
	@tools/fetch_codex.sh > /dev/null || [ $$? -eq 75 ]
	$(BIN)/python -m pytest -m interop -n 2 --dist loadfile $(ARGS)

soak: $(VENV)/.all  ## 20,000 random worlds and 200,000 random pairs: long
	$(BIN)/python -m sansrelay.testing.soak --worlds 20000 --pairs 200000 $(ARGS)

mutants-sim: $(VENV)/.test  ## plant known faults in the core: the simulation has to find each
	$(BIN)/python tools/mutants_sim.py --all $(ARGS)

$(VENV)/.bench: pyproject.toml | $(VENV)/.python
	$(PIP) install -e '.[all,test,bench]'
	$(PIP) install kcp || echo 'kcp could not be built (it needs a C compiler): its rows will be skipped'
	@touch $@

bench: $(VENV)/.bench  ## sansrelay beside h2, aioquic and KCP: ratios, in a few minutes
	cd tests && ../$(BIN)/python -m bench $(ARGS)

bench-test: $(VENV)/.bench  ## whether each peer of the benchmark runs
	$(BIN)/python -m pytest -m bench $(ARGS)

clean:  ## remove what the targets made
	rm -rf mutants $(VENV) $(VENV)-proto $(VENV)-protobuf-* .mypy_cache .ruff_cache .pytest_cache build dist

# Every target creates or updates .venv first. PyPI is all they need.
PYTHON ?= python3
DEMO_SIZE ?= full
DEMO_DIR ?= runs/demo
VENV := .venv
BIN := $(VENV)/bin
OLDEST := .venv-oldest
# Compiling the installed packages takes longer than installing them, and the tests import a sixth of them.
INSTALL := -m pip install --no-compile
# Two test processes with one thread each. worksteal gives each a contiguous half, so that tests of one file share fixtures.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
PYTEST := $(ONE_THREAD) $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: help demo test test-all test-oldest quality style bench clean

help:  ## List the targets
	@grep -E '^[a-z-]+: .*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 10

demo: $(VENV)/.demo  ## Set up, then synthetic speech, two training stages, evaluation on unseen languages, a prediction
	$(BIN)/run-mser demo --size $(DEMO_SIZE) --output_dir $(DEMO_DIR)

test: $(VENV)/.dev  ## Quick tests: at most 8 minutes on two cores
	$(PYTEST) -m "not slow"

test-all: $(VENV)/.dev  ## All tests: at most 25 minutes on two cores
	$(PYTEST) -m ""

test-oldest: $(OLDEST)/.dev  ## Quick tests with the lowest versions in setup.cfg, except torch
	$(ONE_THREAD) $(OLDEST)/bin/python -m pytest -n 2 --dist worksteal -m "not slow"

quality: $(VENV)/.dev  ## Lint, formatting, import direction, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

style: $(VENV)/.dev  ## Fix lint and formatting
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.demo  ## Speed and memory compared with other models: half an hour on two idle cores
	$(BIN)/run-mser bench --output_dir runs/bench $(BENCH)

clean:  ## Remove build output, but not .venv and runs/
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: setup.cfg constraints.txt | $(BIN)/python
	$(BIN)/python $(INSTALL) --constraint constraints.txt --editable '.[demo]'
	touch $@

$(VENV)/.dev: setup.cfg constraints.txt | $(BIN)/python
	$(BIN)/python $(INSTALL) --constraint constraints.txt --editable '.[dev]'
	touch $@ $(VENV)/.demo

# uv reads setup.cfg only by building the package, which --only-binary forbids; so it is read here.
REQUIREMENTS := from configparser import ConfigParser; read = ConfigParser(); read.read("setup.cfg"); \
	print(read["options"]["install_requires"], read["options.extras_require"]["dev"])

# The lowest version of each package that setup.cfg allows and that has a wheel for this Python. torch is the tested version:
# on Linux, PyPI has only CUDA builds, which take gigabytes.
$(OLDEST)/.dev: setup.cfg constraints.txt
	test -x $(OLDEST)/bin/python || $(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install uv
	{ $(PYTHON) -c '$(REQUIREMENTS)'; grep '^torch==' constraints.txt; } | $(OLDEST)/bin/python -m uv pip compile \
		--quiet --resolution lowest-direct --only-binary :all: --output-file $(OLDEST)/constraints.txt -
	$(OLDEST)/bin/python $(INSTALL) --constraint $(OLDEST)/constraints.txt --editable '.[dev]'
	touch $@

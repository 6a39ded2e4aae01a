# Every target makes .venv when it is missing or older than what it is made from; PyPI is all they need.
PYTHON ?= python3
DEMO_SIZE ?= full
DEMO_DIR ?= runs/demo
VENV := .venv
BIN := $(VENV)/bin
OLDEST := .venv-oldest
# Compiling all that is installed takes longer than installing it, and all tests together import a sixth of it.
INSTALL := -m pip install --no-compile
# Two test processes on two cores: one thread each, or they stand in each other's way. Each begins with a half of its own,
# so that what the tests of a file share is made once, and the one that is done first takes over from the other.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
PYTEST := $(ONE_THREAD) $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: help demo test test-all test-oldest quality style bench clean

help:  ## What there is to make
	@grep -E '^[a-z-]+: .*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 10

demo: $(VENV)/.demo  ## Synthetic speech, two training stages, an evaluation on unseen languages, a prediction
	$(BIN)/run-mser demo --size $(DEMO_SIZE) --output_dir $(DEMO_DIR)

test: $(VENV)/.dev  ## The quick tests: at most 8 minutes on two cores
	$(PYTEST) -m "not slow"

test-all: $(VENV)/.dev  ## All tests: at most 20 minutes on two cores
	$(PYTEST) -m ""

test-oldest: $(OLDEST)/.dev  ## The quick tests on the lowest versions that setup.cfg states, torch's excepted
	$(ONE_THREAD) $(OLDEST)/bin/python -m pytest -n 2 --dist worksteal -m "not slow"

quality: $(VENV)/.dev  ## Lint, formatting, import direction, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

style: $(VENV)/.dev  ## Rewrite the files as `quality` wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.demo  ## Speed and memory beside other models: half an hour on two idle cores
	$(BIN)/run-mser bench --output_dir runs/bench $(BENCH)

clean:  ## Remove what was built, .venv and runs/ excepted
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: setup.cfg constraints.txt | $(BIN)/python
	$(BIN)/python $(INSTALL) --constraint constraints.txt --editable '.[demo]'
	touch $@

$(VENV)/.dev: setup.cfg constraints.txt | $(BIN)/python
	$(BIN)/python $(INSTALL) --constraint constraints.txt --editable '.[dev]'
	touch $@ $(VENV)/.demo

# uv reads a setup.cfg by building the package, which it refuses where it may take wheels alone; so it is read here.
REQUIREMENTS := from configparser import ConfigParser; read = ConfigParser(); read.read("setup.cfg"); \
	print(read["options"]["install_requires"], read["options.extras_require"]["dev"])

# The lowest version that setup.cfg states of each package, of those that have a wheel for this Python. torch is the
# tested one: on Linux, PyPI has every version for CUDA, gigabytes that its CPU build saves where it was installed first.
$(OLDEST)/.dev: setup.cfg constraints.txt
	test -x $(OLDEST)/bin/python || $(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install uv
	{ $(PYTHON) -c '$(REQUIREMENTS)'; grep '^torch==' constraints.txt; } | $(OLDEST)/bin/python -m uv pip compile \
		--quiet --resolution lowest-direct --only-binary :all: --output-file $(OLDEST)/constraints.txt -
	$(OLDEST)/bin/python $(INSTALL) --constraint $(OLDEST)/constraints.txt --editable '.[dev]'
	touch $@

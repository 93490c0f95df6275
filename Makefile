# Run `make help` for the list of targets.
# Another build of torch: make setup TORCH="torch==2.13.0 --index-url ADDRESS"
PYTHON ?= python3
VENV   ?= .venv
TORCH  ?=
WORKERS ?= 2
# The workers share the cores: with a thread for each core in each of them, threads wait for one another.
ONE_THREAD := OMP_NUM_THREADS=1
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check -q
CHECKS := check-format check-lint check-types check-imports check-spelling check-prose

# The usage telemetry of all libraries is off.
export DO_NOT_TRACK := true
export DVC_NO_ANALYTICS := true
export GX_ANALYTICS_ENABLED := false
export HF_HUB_DISABLE_TELEMETRY := 1
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
# The tools of the virtual environment come first; without it, those of the active environment are used.
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: help setup demo demo-full gpu-check check $(CHECKS) test test-all docs wheel format clean
.DEFAULT_GOAL := help

help:  ## print this list
	@sed -n 's/^\([a-z][a-z-]*\):.*##  *\(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{printf "make %-15s %s\n", $$1, $$2}'

setup: $(VENV)/ready  ## make the virtual environment in .venv

$(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "rungwise requires Python 3.11 or later, found: $$($(PYTHON) --version); set PYTHON=" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH),$(PIP) install $(TORCH),)
	$(PIP) install --no-compile -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup  ## run the whole pipeline on made-up tickets: two tasks, four rungs
	$(BIN)/python infra/demo/demo.py

demo-full: setup  ## the same with two harder tasks and a larger model
	$(BIN)/python infra/demo/demo.py --full

gpu-check:  ## check and measure the training engine on a CUDA GPU
	$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m benchmarks.gpu --write

# Each check is a target without set-up: .pre-commit-config.yaml calls the same targets.
check: setup  ## all checks: format, lint, types, imports, spelling, prose
	$(MAKE) --no-print-directory $(CHECKS)

check-format:  ## check the format of the code
	ruff format --check .

check-lint:  ## check for errors in the code
	ruff check .

check-types:  ## check the types
	mypy

check-imports:  ## check that rooms import only from floors below
	lint-imports

check-spelling:  ## check the spelling
	codespell

check-prose:  ## check the glossary of CONTRIBUTING.md
	python infra/prose.py

test: check  ## all checks, then the fast tests
	$(ONE_THREAD) pytest -n $(WORKERS) --dist loadfile

test-all: check  ## all checks, then all tests, including the slow ones
	$(ONE_THREAD) pytest -n $(WORKERS) --dist loadfile -m ""

docs: setup  ## build the documentation in docs/_build; every warning is an error
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build
	@echo "docs/_build/index.html"

wheel: setup  ## build the wheel in dist/
	$(PIP) wheel --no-deps --wheel-dir dist .

format: setup  ## fix the format and the imports
	ruff format .
	ruff check --fix .

clean:  ## remove the virtual environment, caches and build output
	rm -rf $(VENV) dist docs/_build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

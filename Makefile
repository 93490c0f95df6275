# make demo       set-up, then the whole path on made-up tickets: two tasks, four rungs.
# make demo-full  the same with two harder tasks and a larger model.
# make gpu-check  the training engine on a CUDA GPU: checks, speed, memory; without one it says so.
# make test       everything: set-up, checks, tests.   make check: format, lint, types, imports.
# make docs       the documentation as a site in docs/_build; every warning is an error.
# Another build of torch: make setup TORCH="torch==2.13.0 --index-url ADDRESS"
PYTHON ?= python3
VENV   ?= .venv
TORCH  ?=
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check -q

export DO_NOT_TRACK := true
export DVC_NO_ANALYTICS := true
export GX_ANALYTICS_ENABLED := false
export HF_HUB_DISABLE_TELEMETRY := 1
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: setup demo demo-full gpu-check docs check test format clean

setup: $(VENV)/ready

$(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "rungwise needs python 3.11 or later, found: $$($(PYTHON) --version); set PYTHON=" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH),$(PIP) install $(TORCH),)
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup
	$(BIN)/python infra/demo/demo.py

demo-full: setup
	$(BIN)/python infra/demo/demo.py --full

gpu-check:
	$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m benchmarks.gpu --write

docs: setup
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build
	@echo "docs/_build/index.html"

check: setup
	ruff format --check .
	ruff check .
	mypy
	lint-imports

test: check
	pytest

format: setup
	ruff format .
	ruff check --fix .

clean:
	rm -rf $(VENV) docs/_build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

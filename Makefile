# `make demo` and `make test` need nothing but Python 3.11 or newer, make, and a package index.
# Each sets up what it needs in .venv, the tests in .venv-nanoidp too; a second run is quick.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PARALLEL := --numprocesses=2 --dist=worksteal
IDENTITY_PROVIDER := .venv-nanoidp/installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Tests start thousands of programs of this project: they are to be compiled once.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-all check bench clean

demo: $(VENV)/demo.installed
	$(BIN)/python examples/digits.py

test: check $(IDENTITY_PROVIDER)
	$(BIN)/python -m pytest $(PARALLEL)

test-all: check $(IDENTITY_PROVIDER)
	$(BIN)/python -m pytest $(PARALLEL) -m "full or not full" --timeout=1800 -o faulthandler_timeout=1800

check: $(VENV)/test.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests/typing

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/%.installed: pyproject.toml prominence/version.py | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	touch $@

# Tests log in at a real identity provider; its dependencies are kept apart from this project's.
$(IDENTITY_PROVIDER):
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet 'nanoidp>=3.4'
	touch $@

bench: $(VENV)/test.installed
	$(BIN)/python benchmarks/import_time.py
	$(BIN)/python benchmarks/command_start.py
	$(BIN)/python benchmarks/local_queue.py
	$(BIN)/python benchmarks/futures.py
	$(BIN)/python benchmarks/large_data.py

clean:
	rm -rf $(VENV) $(dir $(IDENTITY_PROVIDER)) .venv-testsuite .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# make install | make demo | make test: each needs nothing but Python 3.11 or later, make and pip.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/installed

# One thread per process: the tests' networks are tiny, and pytest fills the cores with processes.
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
WORKERS ?= 2

.PHONY: install test lint types pytest demo clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev,log,studio]'
	touch $@

test: lint types pytest

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo

types: install
	$(BIN)/mypy

pytest: install
	$(TEST_ENV) $(BIN)/pytest --numprocesses $(WORKERS)

demo: install
	$(BIN)/longtake demo --out demo

clean:
	rm -rf .venv build dist demo src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# make run     a conversation with the customer_service bot (installs the core first)
# make test    the tests (installs every extra first)
# make check   lint, types and tests
# make bench   the benchmarks; the machine should be idle

PYTHON ?= python3
BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: run install test test-all lint types check bench

run: .venv/.core
	@$(BIN)/promptbot run customer_service

install: .venv/.all

test: .venv/.all
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "not slow"

test-all: .venv/.all
	$(BIN)/python -m pytest

lint: .venv/.all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.all
	$(BIN)/mypy

check: lint types test

bench: .venv/.all
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.compose
	$(BIN)/python -m benchmarks.selectors
	$(BIN)/python -m benchmarks.engines
	$(BIN)/python -m benchmarks.encoder
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.speed

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "promptbot needs Python 3.11 or newer; found $$($(PYTHON) --version)."; \
	  echo "Install one, then run: make PYTHON=python3.12 run"; exit 2; }
	@$(PYTHON) -m venv .venv

.venv/.core: .venv/bin/python pyproject.toml constraints.txt
	@echo "Installing promptbot's core into .venv, once ..."
	@# Python writes bytecode for what is used: that of everything is a quarter of the size.
	@$(PIP_INSTALL) --no-compile -e .
	@touch $@

.venv/.all: .venv/bin/python pyproject.toml constraints.txt
	@echo "Installing promptbot with every extra into .venv, once (torch is large) ..."
	@$(PIP_INSTALL) -e ".[all]"
	@touch .venv/.core $@

# Four commands: install, up, test, check. Long proofs: prove.
PYTHON ?= python3
PORT ?= 8080
REPLICAS ?= 1
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
NATIVE := CMakeLists.txt pyproject.toml constraints.txt $(wildcard native/*)

.PHONY: install up down test check format prove clean

install: $(VENV)/.installed

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python $(NATIVE)
	$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

# Serve the shipped model on http://127.0.0.1:$(PORT) until Ctrl-C. State stays in COLONNADE_HOME.
up: install
	@exec $(BIN)/colonnade up --port $(PORT) --replicas $(REPLICAS)

down: install
	@$(BIN)/colonnade down

test: $(VENV)/.installed-dev check
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check src tests models proofs examples
	$(BIN)/ruff check src tests models proofs examples
	$(BIN)/basedpyright
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.installed-dev
	$(BIN)/ruff format src tests models proofs examples
	$(BIN)/ruff check --fix src tests models proofs examples

# Long proofs: run by hand, figures written into LOG.md.
prove: $(VENV)/.installed-dev
	$(BIN)/python -m pytest proofs -n 0

clean:
	rm -rf build $(VENV)

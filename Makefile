# `make demo` and `make test` need Python 3.10 or newer and a package index, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed

.PHONY: demo web test lint bench clean

demo: $(STAMP)
	$(BIN)/python scripts/demo.py

web: $(STAMP)
	$(BIN)/stage web

test: $(STAMP)
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(TESTS)

lint: $(VENV)/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

$(VENV)/lint: $(STAMP)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[lint]'
	touch $@

bench: $(STAMP)
	$(BIN)/stage bench $(BENCH)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --no-compile -c constraints.txt -e '.[dev]'
	$(BIN)/python -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib || true  # what pip does on one core; some files are for other Pythons
	touch $@

clean:
	rm -rf $(VENV) demo

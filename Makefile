# make install  the environment in .venv
# make demo   the whole loop on a real model        make test   the whole test suite
# make check  what CI runs: lint, types, tests      make results  RESULTS.md from the kept runs
# make clean  remove the environment

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
export PYTHON VENV TORCH_SPEC

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: install demo test lint types check results clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml $(wildcard requirements/*)
	./requirements/install.sh
	touch $@

demo: $(INSTALLED)
	PATH="$(abspath $(BIN)):$$PATH" bash examples/demo.sh

# Two files at a time: much of a test's time is one thread that imports. A GPU's memory is one
# engine's at a time.
TOGETHER ?= $(shell nvidia-smi >/dev/null 2>&1 && echo 1 || echo 2)
test: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses $(TOGETHER) --dist loadfile

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy
	$(BIN)/mypy benchmarks/*.py results/*.py

check: lint types test

results: $(INSTALLED)
	$(BIN)/python results/write.py

clean:
	rm -rf $(VENV)

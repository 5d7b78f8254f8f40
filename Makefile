# make nightly   set up once, then run the night that params.yaml describes
# make test      set up once, then lint, type check, check the import layers, and run the tests
# make bench     set up once, then run the benchmarks
# On a CUDA machine: make LOCK=infra/locks/cuda-py311.txt nightly

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
LOCK ?= infra/locks/cpu-py311.txt
STAMP := $(VENV)/.installed-$(notdir $(LOCK))
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check

.PHONY: nightly test bench lint

nightly: $(STAMP)
	@$(BIN)/python -m flows.nightly

test: lint
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python -m tests.benchmarks

# torch comes first, with its own dependencies, so that the build fits the machine; everything else exactly as locked.
$(STAMP): $(LOCK) pyproject.toml
	@echo "setting up $(VENV): a few minutes and about 4 GB, once"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	$(PIP) --no-deps -r $(LOCK)
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

# make setup     set up .venv, or mend it after this folder was moved or copied; the others do so by themselves
# make nightly   set up once, then run the night that params.yaml describes
# make nights    the nights so far, one a line: the headline of each (metrics/headline.json), on 120 columns
# make check     set up once, then lint, type check, check the import contracts, and run the quick tests: 3 minutes at most
# make test      the same with every test, on the real parts, in two processes
# make bench     set up once, then run the benchmarks
# What is installed fits the machine: the CUDA builds with an NVIDIA driver, else those for CPUs. To overrule it:
#   make LOCK=infra/locks/cpu-py311.txt nightly

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
DRIVER := $(wildcard /proc/driver/nvidia/version /usr/lib/wsl/lib/libcuda.so.1)
LOCK ?= infra/locks/$(if $(DRIVER),cuda,cpu)-py311.txt
WHY := $(if $(filter file,$(origin LOCK)),as this machine has $(if $(DRIVER),an,no) NVIDIA driver,as it was asked for)
STAMP := $(VENV)/.installed-$(notdir $(LOCK))
# Two processes, each with its own folders and ports; the tests of a file stay together and share what they start.
# Threads of OpenMP sleep where they wait: while they spin, as they else do, engines in both take up to four times as long.
PYTEST := OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
# Of an environment that was never finished, Python compiles on all cores what pip would on one.
NEW := $(if $(wildcard $(VENV)/.installed-*),,--no-compile)
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check

.PHONY: setup nightly nights check test bench lint moved

nightly: $(STAMP)
	@exec $(BIN)/python -m relex.core.bound $$PPID $(BIN)/python -m flows.nightly

# Without its options the table has a column for every parameter and every folder of code, and a line for every commit.
SHOWN := ^(Experiment|Created|promoted|step|gain|test|ood|reward|rows|skill)$$
nights: $(STAMP)
	@$(BIN)/dvc exp show --all-commits --no-pager --precision 3 --drop '.*' --keep '$(SHOWN)' | grep -vE '^ +[0-9a-f]{7} '

setup: $(STAMP)

check: lint
	$(PYTEST) -m "not real and not slow"

test: lint
	$(PYTEST)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(STAMP)
	$(BIN)/python -m tests.benchmarks

# An environment holds the path that it was made at. The stamp says which; at another one it is mended: what is
# installed stays, and pip finds it.
ifneq "$(shell cat $(STAMP) 2>/dev/null)" "$(CURDIR)"
$(STAMP): moved
endif

# torch comes first, with its own dependencies, so that the build fits the machine; everything else exactly as locked.
# At the end, once, what a first night would else do itself.
$(STAMP): $(LOCK) pyproject.toml
	@echo "$(LOCK), $(WHY)"
	@test -x $(BIN)/python && echo "bringing $(VENV) up to date, for this folder" \
		|| echo "setting up $(VENV): a few minutes and about 4 GB, once"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python infra/moved_environment.py
	$(PIP) $(NEW) torch==2.13.0
	$(PIP) $(NEW) --no-deps -r $(LOCK)
	@$(if $(NEW),$(BIN)/python -W ignore -m compileall -qq -j 0 "$(CURDIR)/$(VENV)/lib" || true) # some packages hold templates
	$(PIP) --no-deps --no-build-isolation -e .
	@echo "compiling loops, and making the tables of Prefect's database"
	@$(BIN)/python -m flows.ready
	@printf '%s\n' "$(CURDIR)" > $@.new && mv $@.new $@

# Works with GNU make 3.81 (macOS) and later. `make` lists the targets.

PYTHON ?= python3
VENV ?= .venv
# One more than the cores of a small machine: tests of kills, databases and phones wait as long as they compute.
WORKERS ?= 3
PYTEST_ARGS ?=
# A file at a time, in the order of tests/conftest.py: what the tests of a file share is made once.
SHARING := --dist loadfile --no-loadscope-reorder

# Compiled modules are kept: without them each worker compiles nas and every test again, some seconds of each.
unexport PYTHONDONTWRITEBYTECODE

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
# What running needs is installed, and then what developing needs. The second waits for the first, so that a change of
# the first is followed by the second.
RUNS := $(VENV)/.installed-to-run
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help venv quickstart test test-quick coverage lint docs release-check format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

venv: $(STAMP) ## set up .venv with everything to run and develop (PYTHON=python3.12 to choose one)

# torch goes first, alone and pinned: left to the resolver among open ranges it may arrive in another version,
# with gigabytes of CUDA packages.
$(RUNS): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nas needs Python 3.11 or later, this is " + sys.version.split()[0] + "; name another, e.g. make venv PYTHON=python3.12")'
	@$(PIP) --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(PIP) install --quiet --upgrade pip
	$(PIP) install --constraint constraints.txt torch
	$(PIP) install --constraint constraints.txt --editable .
	@touch $@

# What only benchmarks need goes last, to a folder of its own: timm wants torchvision, whose wheel may be built for
# another torch, and diffusers would try to use it wherever it can see it.
$(STAMP): $(RUNS)
	$(PIP) install --constraint constraints.txt --editable ".[dev]"
	$(PIP) install --constraint constraints.txt --no-deps --upgrade --quiet --target $(VENV)/bench timm torchvision
	@touch $@

quickstart: $(RUNS) ## the whole pipeline at a small scale, 7 to 14 minutes on 2 cores; run again to resume
	$(BIN)/nas run examples/quickstart.yaml

test: $(STAMP) ## run the tests (PYTEST_ARGS='-k front' to pick some, WORKERS=8 for more cores)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) $(SHARING) $(PYTEST_ARGS)

test-quick: $(STAMP) ## after each edit: the tests that do not train, search, measure or start a process
	$(MAKE) test PYTEST_ARGS='-m "not slow" --quick -r fE $(PYTEST_ARGS)'

coverage: $(STAMP) ## run the tests and check that they cover 90% of the lines, as CI does
	$(MAKE) test PYTEST_ARGS='$(PYTEST_ARGS) --cov'

lint: $(STAMP) ## ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict nas
	$(BIN)/lint-imports

docs: $(STAMP) ## build the documentation into build/site, without a warning or a broken link
	$(BIN)/python -m docs.site

release-check: $(STAMP) ## build wheel and sdist, install the wheel alone, and run a small pipeline from it (CHECK=--preview before a date is set)
	$(BIN)/python -m release $(CHECK)

format: $(STAMP) ## format the code, and fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove caches and build products; .venv, runs and latency tables stay
	rm -rf build dist htmlcov .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -path './$(VENV)' -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +

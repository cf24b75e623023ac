# `make up` brings up the whole of Farebox; `make help` lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# uv of the machine, else one of the project's own in .tools, made with the machine's Python.
UV := $(shell command -v uv || echo .tools/bin/uv)
UV_VERSION := 0.13.8
PYTHON := .venv/bin/python

.PHONY: help install up down status clean check test test-all chaos mutants bench contract

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(UV) ## everything that is needed, into .venv
	@$(UV) sync --frozen --quiet

.tools/bin/uv:
	python3 -m venv .tools
	.tools/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

up: install ## start everything, with a demo to look at; BACKGROUND=1 returns when it is ready
	@$(PYTHON) -m farebox_local up $(if $(BACKGROUND),--background)

down: ## stop what runs in the background
	@$(PYTHON) -m farebox_local down

status: ## which parts run
	@$(PYTHON) -m farebox_local status

clean: ## stop, and remove all state but downloads
	@$(PYTHON) -m farebox_local clean

# Everything that can be said of the code without running it. Each command is printed; the first that fails ends it.
check: install ## lint, format, types, import contracts, dead code, event contract, lock file
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/vulture
	$(PYTHON) -m farebox.events.schemas check
	$(PYTHON) -m farebox.events.reference check
	$(UV) lock --check

# Most tests wait for servers most of the time: two at once take little more than half as long as one by one.
# The end-to-end tests are the longest group and go first, so the order of the groups is kept.
test: install ## every rule, on servers of its own; ARGS="-k budget" chooses
	$(PYTHON) -m pytest -n 2 --dist loadgroup --no-loadscope-reorder -m "not long" $(ARGS)

test-all: install ## what is long: wrong protocols that the model must find, longer stories, more faults
	$(PYTHON) -m pytest -n 2 --dist loadgroup --no-loadscope-reorder -m long $(ARGS)

chaos: install ## faults under load, then the books held against the world's own notes; FAULTS=3000 PARTS=10 SEED=7 for a long run
	$(PYTHON) -m chaos --faults $(or $(FAULTS),100) $(if $(SEED),--seed $(SEED)) $(if $(PARTS),--parts $(PARTS)) $(ARGS)

mutants: install ## wrong versions of the services, each of which a short run of faults must find; NAME=n-ignored for one
	$(PYTHON) -m chaos --quietly --mutant $(or $(NAME),all) || test $$? -eq 1

bench: install ## the figures of the README, measured here
	$(PYTHON) bench/price.py
	$(PYTHON) bench/admission.py
	$(PYTHON) bench/gateway_load.py
	$(PYTHON) bench/metering_drain.py
	$(PYTHON) bench/budget_posting.py
	$(PYTHON) bench/budget_shares.py
	$(PYTHON) bench/visibility.py

contract: install ## write the schemas and the page for subscribers anew; refuses an incompatible change
	$(PYTHON) -m farebox.events.schemas export
	$(PYTHON) -m farebox.events.reference write

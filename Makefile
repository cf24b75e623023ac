# `make up` brings up the whole of Farebox; `make help` lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# uv of the machine, else one of the project's own in .tools, made with the machine's Python.
UV := $(shell command -v uv || echo .tools/bin/uv)
UV_VERSION := 0.13.8
PYTHON := .venv/bin/python

.PHONY: help install up down status clean

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

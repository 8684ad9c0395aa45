# Every command a person or a CI needs. The first call of a target creates .venv and installs
# the project into it; later calls skip that until setup.cfg or pyproject.toml changes.
# Recipes are plain sh and need python3, python3-venv and make, nothing else.

PYTHON ?= python3
DATA ?=
QUICK ?=

BIN := .venv/bin
STAMP := .venv/installed
PACKAGES := orchestai_env agents supervised

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test lint types real bench soak docs clean

# `make real` stops here, in one line and with exit code 2, before anything is installed.
ifneq ($(filter real,$(MAKECMDGOALS)),)
ifeq ($(strip $(DATA)),)
$(error make real reads recorded outcomes: say where they are with DATA=FOLDER)
endif
ifneq ($(shell test -d "$(DATA)" && echo found),found)
$(error make real: the folder DATA=$(DATA) does not exist: give one of recorded outcomes)
endif
endif

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile

install: $(STAMP) ## create .venv and install the project with all it needs

$(STAMP): setup.cfg pyproject.toml
	@echo "installing into .venv, some minutes the first time"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --disable-pip-version-check --editable ".[train,live,data,test]"
	@touch $(STAMP)

demo: $(STAMP) ## train and compare all agents on built-in simulated data, into runs/demo
	$(BIN)/python -m agents.benchmark --config configs/demo.yaml --output_dir runs/demo

test: $(STAMP) ## run all tests
	$(BIN)/python -m pytest --quiet -n 2 --dist loadfile

lint: $(STAMP) ## check style and formatting
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

types: $(STAMP) ## check types
	$(BIN)/python -m mypy $(PACKAGES) benchmarks tests

real: $(STAMP) ## compare all agents on recorded outcomes: make real DATA=FOLDER [QUICK=1]
	$(BIN)/python -m agents.benchmark --suite zeroeval --data "$(DATA)" \
		--output_dir runs/real $(if $(QUICK),--quick)

bench: $(STAMP) ## measure steps per second beside other libraries, start, growth with subtasks
	$(BIN)/python -m benchmarks.environment
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.scaling

soak: $(STAMP) ## play 10 million random steps over random configurations and check each
	$(BIN)/python -m benchmarks.soak

docs: $(STAMP) ## write docs/environment.md from docstrings, spaces and settings
	$(BIN)/python docs/make_environment_page.py

clean: ## remove caches and build outputs; .venv and runs stay
	rm -rf build dist *.egg-info htmlcov .coverage .coverage.* \
		.hypothesis .mypy_cache .pytest_cache .ruff_cache
	find $(PACKAGES) benchmarks tests -name __pycache__ -type d -prune -exec rm -rf {} +

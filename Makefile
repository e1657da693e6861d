# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TORTURE := torture-models torture-checkpoints torture-kills torture-disk torture-systems torture-text

.PHONY: help install demo test lint types unit gradcheck test-all test-peers docs dist fuzz-audio kill-resume distributed-failures torture $(TORTURE) clean

help:
	@sed -n 's/^\([a-z-]*\):.*## /  make \1 — /p' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "jaxspk needs Python 3.11 to 3.13; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

install: $(STAMP) ## make .venv and install everything into it

demo: $(STAMP) ## train on synthetic voices, separate real ones, write a report
	$(BIN)/python -m experiments.demo

lint: $(STAMP) ## style and the import rule
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP) ## mypy, strict
	$(BIN)/mypy

# A file of tests stays with one process: what it compiles, trains or writes for all of them is made once.
unit: $(STAMP) ## tests and doctests but the slow ones
	$(BIN)/pytest -q -n 2 --dist loadfile -m "not slow" tests jaxspk

# Without the run-time type checks of the other tests: the suite passes wrong things on purpose.
gradcheck: $(STAMP) ## every gradient against independent witnesses
	$(BIN)/pytest -q -n 2 -m "not slow" -o addopts="--import-mode=importlib --strict-markers" gradcheck

test: lint types unit gradcheck ## all of the above

test-all: lint types gradcheck ## the slow tests too
	$(BIN)/pytest -q -n 2 --dist loadfile tests jaxspk

test-peers: $(STAMP) ## losses against pytorch-metric-learning, which is installed for it
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[peers]'
	$(BIN)/pytest -q tests/peers

docs: $(STAMP) ## the site, in docs/_build/html, offline and with warnings as errors
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

dist: $(STAMP) ## the wheel, in dist/
	$(BIN)/python -m build --wheel --outdir dist

fuzz-audio: $(STAMP) ## a million damaged audio files; resumes
	$(BIN)/python -m tests.audio.fuzz --count 1000000

kill-resume: $(STAMP) ## thirty trainings killed twice at random moments, compared with one left alone
	$(BIN)/python -m tests.training.kill_resume --trials 30

distributed-failures: $(STAMP) ## processes killed, stopped and stuck, twenty trials each; resumes
	$(BIN)/python -m tests.training.distributed_failures --trials 20 --record runs/distributed-failures.json

torture: fuzz-audio $(TORTURE) kill-resume distributed-failures ## all of these, for hours; each resumes

# Each counts up to its total over as many runs as it takes, and rewrites its line of docs/reliability.md.
$(TORTURE): torture-%: $(STAMP)
	$(BIN)/python -m tests.torture.$(patsubst disk,failing_disk,$*)
	$(BIN)/python -m tests.torture.table

clean: ## remove what make made, but not runs/
	rm -rf $(VENV) build dist docs/_build *.egg-info

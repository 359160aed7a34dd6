# Words → steps. `make` alone lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
TOOL := .venv/bin
JOBS ?= $(shell nproc)
STEPS := $(sort $(wildcard steps/[0-9][0-9]-*.sh))
BASH_FILES := env.sh $(wildcard lib/*.bash lib/*.sh steps/*.sh machines/*.sh tests/*.sh) \
  $(wildcard tests/bats/*.ba* tests/bats/hang/* tests/chaos/*.bash) .ci/run bench/gpu

.PHONY: help env recipes demo rehearse crosscheck all plan status doctor watch verify evaluate report attestations sweep
.PHONY: clean test test-deep lint unit bats bench fuzz chaos
.PHONY: test-seeds test-upstream test-env test-slurm test-container test-sky locks
# a phony word has no pattern rule: these are listed
STEP_N := $(foreach step,$(STEPS),step-$(patsubst 0%,%,$(firstword $(subst -, ,$(notdir $(step))))))
.PHONY: $(STEP_N)

help: ## this list
	@sed -n 's/^$$(STEP_N)/step-N/; s/^\([a-zA-Z0-9_.%-]*\):.*## /\1\t/p' Makefile | \
	  while IFS=$$'\t' read -r word text; do printf '  make %-14s %s\n' "$$word" "$$text"; done
	@echo "Knobs: make env. Choose what to run with RECIPE=…: make recipes."

Makefile: ;
# a word that is none of these: which one was meant
.DEFAULT:
	@lib/meant.sh $@

INSTALL := $(TOOL)/pip install --quiet --disable-pip-version-check --no-deps
LOCKED := $(INSTALL) --require-hashes --no-build-isolation -r locks

.venv/ready: pyproject.toml $(filter-out %-dev.txt,$(wildcard locks/tool*.txt)) ## the tools (made on first use)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { printf '%s\n' "error: $(PYTHON) does not run or is older than 3.11" "hint: make PYTHON=python3.11 …" >&2; exit 3; }
	@echo "==> making the tool environment .venv (once; a few minutes)" >&2
	$(PYTHON) -m venv .venv
	$(LOCKED)/tool-build.txt >&2
	$(LOCKED)/tool.txt >&2
	@echo "$(LOCKED)/tool-torch-cpu.txt, or with CUDA" >&2
	@$(LOCKED)/tool-torch-cpu.txt >/dev/null 2>&1 || $(LOCKED)/tool-torch.txt -r locks/tool-cuda.txt >&2
	$(INSTALL) --no-index --no-build-isolation --editable . >&2
	@touch .venv/ready

.venv/ready-dev: .venv/ready locks/tool-dev.txt ## what only the tests and checks need, into the same environment
	@echo "==> adding what tests and checks need to .venv (once)" >&2
	$(LOCKED)/tool-dev.txt >&2
	@touch .venv/ready-dev

demo: .venv/ready ## two minutes: a small TRM learns 4 × 4 Sudoku on a CPU and shows how it answers (SIZE=6, SEED=1)
	@$(TOOL)/trm-repro demo --size $(or $(SIZE),4) --seed $(or $(SEED),0)

rehearse: .venv/ready ## all eight steps at toy scale, on a laptop's CPU, minutes (ENGINE=upstream: upstream itself)
	@ENGINE=$(ENGINE) LIGHT=$(LIGHT) lib/rehearse.sh

crosscheck: .venv/ready ## both engines go on from upstream's rehearsed checkpoint: one table; exit 1 where they differ
	@LIGHT=$(LIGHT) lib/crosscheck.sh

all: .venv/ready ## all eight steps of the recipe
	@lib/all.sh

$(STEP_N): step-%: .venv/ready ## one step, such as step-5; fresh ones do nothing (FORCE=1 runs them again)
	@steps/0$*-*.sh $(if $(filter 1,$(FORCE)),--force)

plan: .venv/ready ## every command that would run, how long, what it costs; touches nothing (MEASURE=1 times real steps)
	@lib/plan.sh $(if $(filter 1,$(MEASURE)),--measure)

# what looks at a run looks at the last one where RECIPE and RUN_NAME name none (lib/last.bash); JSON=1: for programs
AS_JSON := $(if $(filter 1,$(JSON)),--json)

status: .venv/ready ## where the last run stands, or that of RUN_NAME=… or RECIPE=…; so do doctor, watch, verify, report
	@LAST_RUN=1 source lib/prelude.bash && repro status $(AS_JSON)

doctor: .venv/ready ## one page to paste into a bug report: no secret, no name of user or machine
	@LAST_RUN=any source lib/prelude.bash && knob_defaults | repro doctor $(AS_JSON)

watch: .venv/ready ## how far the training is: step, time left, loss, pass@K, GPUs, disk; until it ends (ONCE=1: once)
	@LAST_RUN=1 source lib/prelude.bash && repro watch $(if $(filter 1,$(ONCE)),--once) $(AS_JSON)

verify: .venv/ready ## check the packaged run, and say who has signed it (BUNDLE=… another one; docs/format.md)
	@LAST_RUN=$(if $(BUNDLE),,1) source lib/prelude.bash && bundle="$(or $(BUNDLE),$$KAGGLE_DS_DIR)" && \
	  { [[ -n "$(BUNDLE)" || -e $$bundle ]] || note "not packaged yet: step 7 of the run does it (make status)"; } && \
	  repro verify "$$bundle" $(AS_JSON)

report: .venv/ready ## artifacts/RUN_NAME/report.html and .md, finished or not
	@LAST_RUN=1 source lib/prelude.bash && knob_defaults | repro report

attestations: .venv/ready ## the table of attestations/, checked and written into attestations/README.md
	@$(TOOL)/trm-repro attestations --into attestations/README.md

evaluate: .venv/ready ## CHECKPOINT=… DATASET=…: score any TRM checkpoint; without them the run's own (ARGS="--help")
ifdef CHECKPOINT
	@$(TOOL)/trm-repro evaluate --checkpoint "$(CHECKPOINT)" \
	  --dataset "$(or $(DATASET),$(error DATASET=… is missing))" $(ARGS)
else
	@LAST_RUN=1 source lib/prelude.bash && repro evaluate --run $(ARGS)
endif

env: ## the knobs in force, secrets masked
	@source env.sh && print_knobs

recipes: .venv/ready ## what can be reproduced
	@$(TOOL)/trm-repro recipe list $(AS_JSON)

sweep: .venv/ready ## the recipes of SWEEP=… side by side, with one table at the end (recipes/sweeps/)
	@lib/sweep.sh $(SWEEP)

clean: ## says what it would delete; YES=1 deletes it; data and checkpoints only with DATA=1
	@lib/clean.sh $(if $(filter 1,$(YES)),--yes) $(if $(filter 1,$(DATA)),--data)

lint: .venv/ready-dev ## shellcheck, shfmt, hadolint, ruff, mypy
	@$(TOOL)/shellcheck $(BASH_FILES)
	@! LC_ALL=C.UTF-8 grep -nE '^.{121,}$$' Makefile $(BASH_FILES) || { echo "error: over 120 columns" >&2; exit 1; }
	@$(TOOL)/shfmt --diff env.sh lib steps machines tests/*.sh tests/bats tests/chaos .ci/run bench/gpu
	@$(TOOL)/hadolint machines/Dockerfile
	@$(TOOL)/ruff check && $(TOOL)/ruff format --check
	@$(TOOL)/mypy

# two a core: a good part of what it does is waiting for servers, kernels and processes
PYTEST := OMP_NUM_THREADS=1 $(TOOL)/pytest --numprocesses $$((2 * $(JOBS))) --dist worksteal
BATS := $(TOOL)/bats --timing --jobs $(JOBS) --no-parallelize-within-files \
  --parallel-binary-name tests/bats/parallel.bash

unit: .venv/ready-dev ## the package, by pytest
	@$(PYTEST) -m "not deep"

bats: .venv/ready-dev ## the steps and guards, against a stand-in upstream
	@$(BATS) --filter-tags '!deep' tests/bats

test: lint bats unit ## everything that takes minutes at most

test-deep: .venv/ready-dev ## what lasts longer: whole rehearsals, kills at random, real agents and kernels
	@$(BATS) --filter-tags deep tests/bats
	@$(PYTEST) -m deep

bench: .venv/ready-dev ## all of it side by side, 20 minutes, into bench/results (BENCH=engine, gpu, …; ARGS=--help)
	@$(TOOL)/python -m bench$(if $(BENCH),.$(BENCH)) $(ARGS)

fuzz: .venv/ready-dev ## CASES=100000 SEED=1: mutated inputs for every parser of a stranger's bytes; test has a sample
	@$(TOOL)/python -W ignore -m tests.fuzz --cases $(or $(CASES),10000) --seed $(or $(SEED),1) $(ARGS)

chaos: .venv/ready ## KILLS=100 SEED=1: kill -9 in every step, make all again, the same manifest; test has a sample
	@$(TOOL)/python -m tests.chaos --kills $(or $(KILLS),100) --seed $(or $(SEED),1) $(if $(RUN),--run $(RUN)) $(ARGS)

test-seeds: .venv/ready ## SEEDS=folder: the seeds' commands, word for word, beside their transcripts; not part of test
	@$(TOOL)/python tests/seeds.py "$(SEEDS)"

test-upstream: .venv/ready ## TRM_REMOTE=…: the real upstream cloned, its builder run and compared; not part of test
	@tests/upstream.sh

test-env: .venv/ready ## step 3 for real with LOCK=cu130 (cu130-trelis …): minutes, 6 GB, no GPU; not part of test
	@tests/environment.sh $(LOCK)

test-slurm: .venv/ready ## every job on a real Slurm of two nodes, here: pre-emption, a lost node; not part of test
	@tests/slurm.sh

test-container: .venv/ready ## machines/Dockerfile built and run, stopped and started again; not part of test
	@tests/container.sh

test-sky: .venv/ready ## every job for the clouds, read by the real SkyPilot; not part of test
	@tests/sky.sh

locks: .venv/ready ## locks/*.txt from locks/*.in (UPGRADE=1: the newest versions)
	@lib/locks.sh

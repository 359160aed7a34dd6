#!/usr/bin/env bash
# prepare.bash FOLDER rehearsal|paper: what tests/chaos breaks. Makes in FOLDER a runbook with nothing done, as the
# tests of the steps have it (tests/bats): `rehearsal`, one epoch of the rehearsal on real tasks with the real engine;
# `paper`, all of arc2-paper against the stand-in upstream. FOLDER/environment is the environment to run in it,
# NAME=VALUE, each ended by a NUL; FOLDER/pristine is copied to FOLDER/runbook before each run.
set -euo pipefail
bats_require_minimum_version() { :; }
folder=$(realpath -m "$1") what=$2
REPO=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
source "$REPO/tests/bats/helper.bash"
source "$REPO/tests/bats/setup_suite.bash"

mkdir -p "$folder/suite"
export BATS_SUITE_TMPDIR=$folder/suite PYTHONDONTWRITEBYTECODE=1
export TEMPLATE=$folder/suite/template STANDIN=$folder/suite/standin.git STANDIN_SITE=$REPO/tests/bats/site
export STANDIN_VENV=$folder/suite/venv
STANDIN_PYTHON=$(sed -n 's/^home = //p' "$REPO/.venv/pyvenv.cfg")/python3
export STANDIN_PYTHON REPO BIN
make_programs
make_standin
make_template
make_standin_venv
unset PYTHONDONTWRITEBYTECODE
make_runbook "$folder"
if [[ $what == rehearsal ]]; then
  rm -r .venv && ln -s "$REPO/.venv" .venv             # torchrun and python as well
  cp "$REPO/recipes/base/arc-tasks.yaml" recipes/base/ # upstream's tasks, not the stand-in's
  sed -i 's/epochs=8/epochs=1/; s/eval_interval=4/eval_interval=1/; s/halt_max_steps=4/halt_max_steps=1/' \
    recipes/arc2-rehearsal.yaml
  sed -i 's/- "8"/- "1"/' recipes/base/arc2-rehearsal.yaml
  git_as_tester commit --quiet --all --message 'A smaller rehearsal'
  recipe=arc2-rehearsal
else
  training_environment
  answer 'make_venv "$3" && cd "$3" && mkdir -p lib/python3.10/site-packages' 'python3.10 -m venv *'
  recipe=arc2-paper
fi
clean_environment RECIPE=$recipe OMP_NUM_THREADS=1 TMPDIR="$folder/tmp" env --null >"$folder/environment"
cd "$folder" && rm -rf suite/standin && mv runbook pristine && cp -a stubs stubs.pristine && mkdir tmp

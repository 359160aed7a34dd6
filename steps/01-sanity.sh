#!/usr/bin/env bash
# Usage: steps/01-sanity.sh [--help] [--dry-run] [--force]
# Summary: Check everything that can be known before anything is spent.
# Reads: the knobs, the recipe, the machine.
# Writes: the stamp and the log; small files in the folders that the run will use, to try these out, removed again (not
#   in a dry run).
# Guarantees: every problem is listed at once, each with its remedy; what the machine has stands beside
#   what the run needs, and why.
# Environment: TARGET_DATASET RUN_NAME TRM_DIR PY USE_VENV MAX_GPUS_TO_USE VENV_DIR ENV_LOCK CUDA_LOCK DATASET_BUILDER
#   CHECK_REMOTE PUBLISH_TO_KAGGLE KAGGLE_USERNAME KAGGLE_DATASET_SLUG EXTRA_BUILDER_ARGS EXTRA_TRAIN_ARGS OVERRIDE
# Exit: 0 all well · 3 something is missing or not allowed

source "$(dirname "${BASH_SOURCE[0]}")/../lib/prelude.bash"

main() {
  local options=()
  step_begin "$@"
  ! dry || options+=(--dry-run)
  # one that hangs was waited for just now
  [[ $GPUS_PROBLEM != *'nvidia-smi did not answer'* ]] || export TRM_REPRO_SILENT=nvidia-smi
  note "recipe $RECIPE ($RECIPE_TITLE), engine $ENGINE, run $RUN_NAME, $PROCESSES process(es), batch $BATCH"
  [[ -z $RECIPE_WARNING ]] || warn "$RECIPE_WARNING"
  [[ -z $NO_GIT ]] || no_git
  MEASURED=$(repro step preflight "${options[@]}") || (($? == EXIT_PREREQUISITE)) ||
    die "$EXIT_COMMAND" "this machine could not be measured"
  printf '%s\n' "$MEASURED" >&2
  guard G-TARGET-DATASET G-TOOLS G-PYTHON G-GPUS G-MACHINE G-PROCESSES G-BUILDER-COMMAND G-TRAIN-COMMAND \
    G-NO-ARC1 G-ENVIRONMENT G-SUPPORT G-KAGGLE-NAMES G-KAGGLE-CREDENTIALS
  guards_settle "$EXIT_PREREQUISITE"
  step_done "nothing that can be known now stands in the way"
}

# An archive, a copy in somebody's repository, a clone of another owner: everything works, and nothing says what ran.
no_git() {
  local cure="for a faithful run: git clone this repository, and run it there"
  [[ $NO_GIT != *[Dd]ubious* ]] || cure="git config --global --add safe.directory $(shell_words "$REPRO_ROOT")"
  warn "git tells no commit of this copy of the tool ($NO_GIT): the run goes on and is not called faithful, because" \
    "no commit says what ran; its files are recorded by digest instead"
  printf 'hint: %s\n' "$cure" >&2
}

main "$@"

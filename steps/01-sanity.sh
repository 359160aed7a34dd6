#!/usr/bin/env bash
# Usage: steps/01-sanity.sh [--help] [--dry-run] [--force]
# Summary: Check everything that can be known before anything is spent.
# Reads: the knobs, the recipe, the machine.
# Writes: nothing but the stamp and the log.
# Guarantees: every problem is listed at once, each with its remedy; without GPUs it names `make rehearse`.
# Environment: TARGET_DATASET RUN_NAME TRM_DIR PY USE_VENV MAX_GPUS_TO_USE PUBLISH_TO_KAGGLE KAGGLE_USERNAME KAGGLE_DATASET_SLUG EXTRA_BUILDER_ARGS EXTRA_TRAIN_ARGS OVERRIDE
# Exit: 0 all well · 3 something is missing or not allowed

source "$(dirname "${BASH_SOURCE[0]}")/../lib/prelude.bash"

main() {
  step_begin "$@"
  note "recipe $RECIPE ($RECIPE_TITLE), engine $ENGINE, run $RUN_NAME, $PROCESSES process(es), batch $BATCH"
  note "$(gpu_count) GPU(s), $(nproc) core(s), $(free -g | awk '/^Mem:/ {print $2}') GB memory, $(df -BG --output=avail . | tail -1 | tr -d ' G') GB disk free"
  guard G-RUN-NAME G-TARGET-DATASET G-TOOLS G-PYTHON G-GPUS G-PROCESSES G-BUILDER-COMMAND G-TRAIN-COMMAND \
    G-NO-ARC1 G-ENVIRONMENT G-KAGGLE-NAMES G-KAGGLE-CREDENTIALS
  guards_settle "$EXIT_PREREQUISITE"
  step_done "nothing that can be known now stands in the way"
}

main "$@"

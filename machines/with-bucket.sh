#!/usr/bin/env bash
# Usage: machines/with-bucket.sh FOLDER
# Summary: All eight steps, with what they make kept in FOLDER, which outlives the machine: a mounted bucket or a
#   volume.
# Reads: FOLDER, if an earlier machine left something there.
# Writes: FOLDER: state, artifacts and logs; the dataset, the weights to start from and the checkpoints, while it
#   trains.
# Guarantees: a machine that takes over makes clone and environment anew and goes on after the last step that was kept;
#   what
#   was kept is believed by its digest only. No file is half there under its name.
# Environment: KEEP_EVERY (600): seconds between two looks for new checkpoints; all knobs of env.sh. RESUME=warm: a
#   machine
#   that takes over an unfinished training begins with its last checkpoint, and the run is no longer faithful (D-15).
# Exit: make's

source "$(dirname "${BASH_SOURCE[0]}")/../lib/prelude.bash"

main() {
  local folder step words
  (($# == 1)) || die "$EXIT_USAGE" "which folder?" "machines/with-bucket.sh FOLDER"
  folder=$(realpath -m "$1")
  mkdir -p "$folder/work"
  words=$(repro step begin 05-train --dry-run)
  source /dev/stdin <<<"$words"
  copy "$folder" . ".repro/runs/$RUN_NAME" "$ARTIFACTS" "logs/$RUN_NAME"
  rm -f "$RUN_STATE"/0[123]-*.stamp # they speak of another machine
  for step in 1 2 3; do make "step-$step"; done
  copy "$folder/work" "$TRM_DIR" "$DATASET_FOLDER" ${WEIGHTS_FILE:+"$WEIGHTS_FILE"}
  copy "$folder/work" "$TRM_DIR" "$CHECKPOINT_FOLDER" "$CHECKPOINT_FOLDER.set-aside-*"
  # the first machine has nothing to begin with
  [[ -n $(compgen -G "$TRM_DIR/$CHECKPOINT_FOLDER*/step_*") ]] || export RESUME=''
  for step in 4 5 6 7 8; do
    keep_training "$folder" &
    KEEPER=$!
    trap 'kill "$KEEPER" 2>/dev/null || true' EXIT
    make "step-$step"
    kill "$KEEPER" && wait "$KEEPER" || true
    copy "$TRM_DIR" "$folder/work" "$DATASET_FOLDER" ${WEIGHTS_FILE:+"$WEIGHTS_FILE"}
    keep_checkpoints "$folder"
    copy . "$folder" "$ARTIFACTS" "logs/$RUN_NAME" ".repro/runs/$RUN_NAME" # the state last: it vouches for the rest
  done
}

# While a step is at work, and as long as this script lives.
keep_training() {
  while sleep "${KEEP_EVERY:-600}" >&- 2>&- && kill -0 "$$"; do
    { keep_checkpoints "$1" && copy . "$1" "logs/$RUN_NAME"; } || warn "could not copy checkpoints to $1; trying again"
  done
}

# The checkpoints, and those of attempts that were set aside. What is no more here goes there, too: an attempt that was
# set
# aside is not mixed with the next.
keep_checkpoints() {
  local file
  copy "$TRM_DIR" "$1/work" "$CHECKPOINT_FOLDER" "$CHECKPOINT_FOLDER.set-aside-*"
  while read -r -d '' _ _ file; do
    [[ -e $TRM_DIR/$file ]] || rm -f "$1/work/$file"
  done < <(listing "$1/work" "$CHECKPOINT_FOLDER")
}

# copy FROM TO PATTERN…: the files there, one by one; those that TO has as new already are left out.
copy() {
  local from=$1 to=$2 seconds size file had
  local -A there=()
  shift 2
  while read -r -d '' seconds size file; do there[$file]="$seconds $size"; done < <(listing "$to" "$@")
  while read -r -d '' seconds size file; do
    had=${there[$file]:-0 0}
    ((seconds > ${had% *})) || [[ $seconds == "${had% *}" && $size != "${had#* }" ]] || continue
    mkdir -p "$to/$(dirname "$file")"
    cp --preserve=timestamps "$from/$file" "$to/$file.part"
    mv "$to/$file.part" "$to/$file"
  done < <(listing "$from" "$@")
}

# listing FOLDER PATTERN…: whole seconds (a bucket knows no finer), size and name of each file, ended by a zero byte.
listing() {
  local pattern
  cd "$1" 2>/dev/null || return 0
  for pattern in "${@:2}"; do
    # shellcheck disable=SC2086
    compgen -G "$pattern" >/dev/null && find $pattern -type f ! -name '*.part' -printf '%Ts %s %p\0'
  done
}

main "$@"

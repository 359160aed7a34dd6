#!/usr/bin/env bash
# Usage: [LIGHT=0] lib/crosscheck.sh [--keep]      (make crosscheck)
# Summary: Both engines from the first checkpoint of upstream's rehearsal on a CPU, on the same data with the same seed:
#   what each computed, side by side. Beside that, upstream's checkpoints evaluated by ours, and the dataset built by
#   ours. One table.
# Reads: what `make rehearse ENGINE=upstream` on a CPU left; it is run first where it is not finished.
# Writes: artifacts/RUN_NAME/crosscheck.json; what both train is removed again, unless --keep is given or one of them
#   failed: its log is there then.
# Exit: 0 they agree · 1 they differ: the first step and the first quantity are named · 5 one of them failed

set -euo pipefail

# before the knobs are read: their defaults are the recipe's
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ ${1-} != --help ]]; then
  RECIPE=$(.venv/bin/trm-repro step rehearsal --engine upstream --on-cpu ${LIGHT:+--light "$LIGHT"})
  export RECIPE
fi

source lib/prelude.bash

SCRATCH=$REPRO_ROOT/.repro/crosscheck

main() {
  local step words rehearsed start
  name=${RUN_NAME}_crosscheck
  [[ ${1-} != --help ]] || { help_text && exit 0; }
  for step in "${STEPS[@]::6}"; do "$step"; done
  words=$(RUN_NAME=$name repro step begin 05-train --dry-run) || exit
  # shellcheck source=/dev/null
  source /dev/stdin <<<"$words"
  rehearsed=$TRM_DIR/${CHECKPOINT_FOLDER%_crosscheck}
  start=$(find "$rehearsed" -maxdepth 1 -name 'step_*' -type f -printf '%f\n' | sort -t_ -k2n | sed -n 1p)
  start=$(realpath --relative-to="$TRM_DIR/$WORK" "$rehearsed/$start")
  forget
  mkdir -p "$SCRATCH"
  [[ ${1-} == --keep ]] || trap '(($? > 1 && $? < 128)) || forget' EXIT # a signal's: nothing to look at
  note "upstream goes on from $start"
  for step in "${STEPS[@]:1:3}"; do RUN_NAME=$name "$step" >/dev/null; done # taken as they are: nothing is made anew
  RUN_NAME=$name EXTRA_TRAIN_ARGS=++load_checkpoint=$start OVERRIDE=G-TRAIN-COMMAND steps/05-train.sh >/dev/null
  note "the reference engine goes on from $start"
  ours "$start"
  repro step crosscheck --rehearsed "$rehearsed" --upstream "$TRM_DIR/$CHECKPOINT_FOLDER" --ours "$SCRATCH/run" \
    --dataset "$TRM_DIR/$DATASET_FOLDER" --built "$SCRATCH/data" --output "$ARTIFACTS/crosscheck.json"
}

# ours START: our engine with the recipe's words, and our builder with its arguments.
ours() {
  local word data=() words=()
  for word in "${RECIPE_BUILDER[@]}"; do
    ((! ${#data[@]})) && [[ $word != --* ]] || data+=("$word") # from the first option on
  done
  for word in "${RECIPE_TRAIN[@]}"; do
    [[ $word == -* || $word != *=* ]] || words+=("$word")
  done
  words+=("++load_checkpoint=$1" "++checkpoint_path=$SCRATCH/run" draw_as_loader=True device=cpu threads=1
    keep_checkpoints=0)
  aside trm-repro dataset arc "${data[@]}" --output-dir "$SCRATCH/data"
  aside python -m trm_repro.engine.pretrain "${words[@]}"
}

# aside COMMAND…: runs it where the recipe's commands run, in the tool environment; it is no part of the run's record.
aside() {
  printf -- '-> %s\n' "$(shell_words "$@")" >&2
  (cd "$TRM_DIR/$WORK" && PATH=$TOOL:$PATH exec "$@" >/dev/null) || die "$EXIT_COMMAND" "$1 failed" "see above"
}

# What is trained here is compared and not kept.
forget() {
  local folder=${TRM_DIR:?}/${CHECKPOINT_FOLDER:?}
  rm -rf -- "$SCRATCH" "$folder" "$folder.voucher.json" "$folder.lock"
  rm -rf -- ".repro/runs/$name" "logs/$name" "artifacts/$name" .repro/env_"${TARGET_DATASET}_$name".{txt,json}
}

main "$@"

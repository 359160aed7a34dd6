#!/usr/bin/env bash
# Usage: lib/sweep.sh SWEEP      (make sweep SWEEP=cycles-rehearsal)
# Summary: Run the recipes of a sweep one after the other, evaluate their checkpoints, and write one table.
# Reads: recipes/sweeps/SWEEP.yaml.
# Writes: what the recipes' runs write, all packaged and none uploaded; artifacts/sweep-SWEEP.md.
# Guarantees: what is done is not done again; stopped at any point, the same command goes on. A recipe that fails
#   keeps none of the others from being run; the table says which are not finished.
# Exit: 0 done · the code of the first step or evaluation that failed · 128+n signal n

source "$(dirname "${BASH_SOURCE[0]}")/prelude.bash"

main() {
  local recipe recipes code failed=0 count=0
  [[ ${1-} != --help ]] || { help_text && exit 0; }
  (($# == 1)) || die "$EXIT_USAGE" "which sweep?" "make sweep SWEEP=cycles-rehearsal"
  recipes=$(repro step sweep recipes "$1") || exit
  mapfile -t recipes <<<"$recipes"
  for recipe in "${recipes[@]}"; do
    count=$((count + 1)) code=0
    note "sweep $1, recipe $count of ${#recipes[@]}: $recipe"
    run_recipe "$recipe" || code=$?
    ((code < 128)) || exit "$code"
    ((code == 0)) || warn "sweep $1: $recipe failed (code $code, above); the same command tries it again"
    ((failed)) || failed=$code
  done
  note "sweep $1: evaluating"
  code=0
  repro step sweep evaluate "$1" || code=$?
  ((failed)) || failed=$code
  repro step sweep table "$1" >"artifacts/.sweep-$1.md"
  mv "artifacts/.sweep-$1.md" "artifacts/sweep-$1.md"
  cat "artifacts/sweep-$1.md"
  note "the table is artifacts/sweep-$1.md"
  exit "$failed"
}

# All eight steps of a recipe, under the names and places that are its own.
run_recipe() {
  local name words=(RECIPE="$1" PUBLISH_TO_KAGGLE=0 PUBLISH_TO_HF=0)
  for name in TARGET_DATASET TRM_DIR RUN_NAME VENV_DIR KAGGLE_DATASET_SLUG KAGGLE_DS_DIR MAX_GPUS_TO_USE; do
    words=(-u "$name" "${words[@]}")
  done
  env "${words[@]}" lib/all.sh
}

main "$@"

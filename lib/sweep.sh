#!/usr/bin/env bash
# Usage: lib/sweep.sh SWEEP      (make sweep SWEEP=cycles-rehearsal)
# Summary: Run the recipes of a sweep one after the other, evaluate their checkpoints, and write one table.
# Reads: recipes/sweeps/SWEEP.yaml.
# Writes: what the recipes' runs write, all packaged and none uploaded; artifacts/sweep-SWEEP.md.
# Guarantees: what is done is not done again; stopped at any point, the same command goes on.
# Exit: 0 done · a step's or an evaluation's own code

source "$(dirname "${BASH_SOURCE[0]}")/prelude.bash"

main() {
  local recipe recipes
  (($# == 1)) || die "$EXIT_USAGE" "which sweep?" "make sweep SWEEP=cycles-rehearsal"
  recipes=$(repro sweep recipes "$1") || exit
  for recipe in $recipes; do
    note "sweep $1: $recipe"
    # each under the names and places that are the recipe's own
    env -u TARGET_DATASET -u TRM_DIR -u RUN_NAME -u VENV_DIR -u KAGGLE_DATASET_SLUG -u KAGGLE_DS_DIR -u MAX_GPUS_TO_USE \
      RECIPE="$recipe" PUBLISH_TO_KAGGLE=0 make all
  done
  repro sweep evaluate "$1"
  repro sweep table "$1" >"artifacts/.sweep-$1.md"
  mv "artifacts/.sweep-$1.md" "artifacts/sweep-$1.md"
  cat "artifacts/sweep-$1.md"
}

main "$@"

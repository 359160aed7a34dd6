#!/usr/bin/env bash
# Usage: lib/clean.sh [--yes] [--data]      (make clean YES=1 DATA=1)
# Summary: Say what could be deleted; delete it with --yes; data and checkpoints only with --data as well.
# Exit: 0 done · 2 usage · 4 a step is at work: nothing is deleted

source "$(dirname "${BASH_SOURCE[0]}")/prelude.bash"

main() {
  local yes=0 data=0 path
  for word; do
    case $word in
      --yes) yes=1 ;;
      --data) data=1 ;;
      --help) help_text && exit 0 ;;
      *) die "$EXIT_USAGE" "unknown option '$word'" "lib/clean.sh --help" ;;
    esac
  done
  [[ -f recipes/$RECIPE.yaml ]] || die "$EXIT_USAGE" "no recipe '$RECIPE'" "make recipes lists them"
  ((! yes)) || nothing_works
  local targets=(logs .repro/runs .repro/digests.json .repro/environments)
  targets+=(.mypy_cache .ruff_cache .pytest_cache .hypothesis build)
  local precious=(.repro/work artifacts "$TRM_DIR/data" "$TRM_DIR/checkpoints" "$KAGGLE_DS_DIR")
  ((! data)) || targets+=("${precious[@]}")
  for path in "${targets[@]}"; do
    [[ -e $path ]] || continue
    printf '%s %s (%s)\n' "$( ((yes)) && echo deleting || echo 'would delete')" "$path" "$(du -sh "$path" | cut -f1)"
    ((! yes)) || rm -rf -- "$path"
  done
  ((data)) || for path in "${precious[@]}"; do
    [[ ! -e $path ]] || printf 'keeping %s (%s); DATA=1 includes it\n' "$path" "$(du -sh "$path" | cut -f1)"
  done
  ((yes)) || echo "nothing was deleted; YES=1 does it"
}

# A step at work holds its run's lock, and would end with nothing to stamp.
nothing_works() {
  local lock
  for lock in .repro/runs/*/lock; do
    [[ ! -f $lock ]] || flock --nonblock --shared "$lock" true ||
      die "$EXIT_INVARIANT" "a step works on the run $(basename "${lock%/lock}"): nothing was deleted" \
        "let it end, or end it with Ctrl-C where it was started"
  done
}

main "$@"

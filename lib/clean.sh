#!/usr/bin/env bash
# Usage: lib/clean.sh [--yes] [--data]      (make clean YES=1 DATA=1)
# Summary: Say what could be deleted; delete it with --yes; data and checkpoints only with --data as well.
# Guarantees: nothing is deleted while a run is at work.
# Exit: 0 done · 2 usage · 4 a run is at work

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
  ((! yes)) || nothing_at_work
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

# A run at work holds its lock, and that of its dataset, which may be another repository's run. Without its lock, the
# next step would take it for a killed one's leftovers.
nothing_at_work() {
  local lock busy=''
  for lock in .repro/runs/*/lock "$TRM_DIR"/data/*.lock .repro/work/data/*.lock; do
    [[ ! -f $lock ]] || flock --nonblock "$lock" true || (($? != 1)) || busy+=" $(short "$lock")"
  done
  [[ -z $busy ]] ||
    die "$EXIT_INVARIANT" "a run is at work (it holds$busy): nothing was deleted" \
      "make status says which; let it end, or stop it with Ctrl-C"
}

main "$@"

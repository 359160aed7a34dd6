#!/usr/bin/env bash
# Usage: steps/08-handoff.sh [--help] [--dry-run] [--force]
# Summary: Write the notebook that uses the published checkpoint, the checklist and the report of this run.
# Reads: KAGGLE_DS_DIR, artifacts/${RUN_NAME}/manifest.json.
# Writes: artifacts/${RUN_NAME}/: notebook.ipynb, CHECKLIST.txt, report.html, report.md; links to weights, data and logs.
# Guarantees: each box of the checklist is ticked or not from facts, with the evidence beside it.
# Environment: RUN_NAME KAGGLE_USERNAME KAGGLE_DATASET_SLUG KAGGLE_DS_DIR
# Exit: 0 done or fresh · 3 there is no bundle · 5 the notebook could not be written

source "$(dirname "${BASH_SOURCE[0]}")/../lib/prelude.bash"

main() {
  step_begin "$@"
  ((DRY_RUN)) || [[ -d $KAGGLE_DS_DIR ]] || die "$EXIT_PREREQUISITE" "there is no bundle in $(short "$KAGGLE_DS_DIR")" "make step-7"
  run trm-repro notebook write --bundle "$KAGGLE_DS_DIR" --output "$ARTIFACTS/notebook.ipynb" ||
    die "$EXIT_COMMAND" "the notebook could not be written"
  ((! DRY_RUN)) || return 0
  repro checklist "$ARTIFACTS/manifest.json" | tee "$ARTIFACTS/CHECKLIST.txt" >&2
  repro report >&2
  repro artifacts "$ARTIFACTS/manifest.json" >&2
  step_done "notebook, checklist and report in $ARTIFACTS" "$ARTIFACTS/notebook.ipynb" "$ARTIFACTS/CHECKLIST.txt" \
    "$ARTIFACTS/report.html" "$ARTIFACTS/report.md"
}

main "$@"

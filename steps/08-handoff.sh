#!/usr/bin/env bash
# Usage: steps/08-handoff.sh [--help] [--dry-run] [--force]
# Summary: Write the notebook that uses the published checkpoint, the checklist and the report of this run.
# Reads: KAGGLE_DS_DIR, artifacts/${RUN_NAME}/manifest.json.
# Writes: artifacts/${RUN_NAME}/: notebook.ipynb and kernel-metadata.json (where there is a checkpoint), CHECKLIST.txt,
#   report.html, report.md; links to weights, data and logs.
# Guarantees: each box of the checklist is ticked or not from facts, with the evidence beside it.
# Environment: RUN_NAME KAGGLE_USERNAME KAGGLE_DATASET_SLUG KAGGLE_DS_DIR KAGGLE_COMPETITION
# Exit: 0 done or fresh · 3 there is no bundle · 5 the notebook could not be written

source "$(dirname "${BASH_SOURCE[0]}")/../lib/prelude.bash"

main() {
  local outputs=("$ARTIFACTS/CHECKLIST.txt" "$ARTIFACTS/report.html" "$ARTIFACTS/report.md") notebook=()
  step_begin "$@"
  if ((EXPECTS_CHECKPOINTS)); then
    dry || [[ -d $KAGGLE_DS_DIR ]] ||
      die "$EXIT_PREREQUISITE" "there is no bundle in $(short "$KAGGLE_DS_DIR")" "make step-7"
    outputs+=("$ARTIFACTS/notebook.ipynb" "$ARTIFACTS/kernel-metadata.json")
    notebook=(--notebook-of "$KAGGLE_DS_DIR")
  fi
  run trm-repro step handoff "${notebook[@]}" ||
    die "$EXIT_COMMAND" "notebook, checklist and report could not be written"
  step_done "${notebook:+notebook, }checklist and report in $ARTIFACTS" "${outputs[@]}"
}

main "$@"

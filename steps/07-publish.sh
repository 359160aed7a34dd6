#!/usr/bin/env bash
# Usage: steps/07-publish.sh [--help] [--dry-run] [--force]
# Summary: Package the checkpoint as a Kaggle dataset, and upload it if asked.
# Reads: artifacts/${RUN_NAME}/manifest.json and the files it names.
# Writes: KAGGLE_DS_DIR. A run that leaves no checkpoint, such as an evaluation of somebody
#   else's, has nothing to publish.
# Guarantees: the folder is complete and valid, and of a run that step 6 has checked; an unfaithful run is uploaded only
#   when PUBLISH_UNFAITHFUL=1.
# Environment: TARGET_DATASET RUN_NAME TRM_DIR PUBLISH_TO_KAGGLE PUBLISH_UNFAITHFUL KAGGLE_USERNAME
#   KAGGLE_DATASET_SLUG KAGGLE_DS_DIR KAGGLE_PUBLIC PUBLISH_LICENSE PUBLISH_TO_HF HF_REPO_ID HF_BENCHMARK
#   SIGNING_KEY
# Exit: 0 done or fresh · 3 step 6 has not succeeded, credentials missing, or no name that Kaggle takes ·
#   4 the folder is not valid · 5 the upload failed

source "$(dirname "${BASH_SOURCE[0]}")/../lib/prelude.bash"

main() {
  local sent=''
  step_begin "$@"
  if [[ $EXPECTS_CHECKPOINTS == 0 ]]; then
    step_done "a run of $RECIPE leaves no checkpoint: there is nothing to publish"
    return
  fi
  guard G-KAGGLE-NAMES G-KAGGLE-CREDENTIALS
  guards_settle "$EXIT_PREREQUISITE"
  # an earlier attempt's manifest may still be there
  dry || [[ -f $RUN_STATE/06-verify.stamp ]] ||
    die "$EXIT_PREREQUISITE" "step 6 of this run has not succeeded: nothing is published that it has not checked" \
      "make step-6"
  run trm-repro publish package --manifest "$ARTIFACTS/manifest.json" --output "$KAGGLE_DS_DIR" \
    --trm-dir "$TRM_DIR" ||
    die "$EXIT_INVARIANT" "the Kaggle folder could not be made"
  if [[ $PUBLISH_TO_KAGGLE == 1 && $UPLOADS == 1 ]]; then
    run trm-repro publish kaggle --bundle "$KAGGLE_DS_DIR" --receipt "$ARTIFACTS/published-kaggle.json" || exit
    sent+=" as Kaggle dataset $KAGGLE_USERNAME/$KAGGLE_DATASET_SLUG"
  fi
  if [[ $PUBLISH_TO_HF == 1 && $UPLOADS == 1 ]]; then
    run trm-repro publish hf --bundle "$KAGGLE_DS_DIR" --receipt "$ARTIFACTS/published-hf.json" || exit
    sent+=" as $HF_REPO_ID on Hugging Face"
  fi
  step_done "packaged in $(short "$KAGGLE_DS_DIR"); ${sent:+uploaded}${sent:-nothing was sent}" "$KAGGLE_DS_DIR"
}

main "$@"

#!/usr/bin/env bash
# Usage: steps/06-verify.sh [--help] [--dry-run] [--force]
# Summary: Check what the training left, score it again, and write down what made it.
# Reads: the checkpoint folder, the dataset, the records of all steps.
# Writes: TRM_COMMIT.txt and COMMANDS.txt beside the checkpoints,
#   .repro/summary_${RUN_NAME}.txt, artifacts/${RUN_NAME}/.
# Guarantees: the final checkpoint is the one with the highest step; tensors, configuration, sources and submissions
#   are what they must be; faithful or not follows from the facts, and so does the verdict.
# Environment: TARGET_DATASET RUN_NAME TRM_DIR SIGNING_KEY
# Exit: 0 done or fresh, whatever the verdict · 3 no checkpoint · 4 what is there is not what the recipe promises

source "$(dirname "${BASH_SOURCE[0]}")/../lib/prelude.bash"

main() {
  step_begin "$@"
  ! dry || return 0
  local run_dir checkpoint verdict summary=.repro/summary_$RUN_NAME.txt
  run_dir=$(short "$TRM_DIR/$CHECKPOINT_FOLDER")
  checkpoint=${FINAL_CHECKPOINT:+$run_dir/$FINAL_CHECKPOINT}
  [[ $EXPECTS_CHECKPOINTS == 0 || -n $checkpoint ]] ||
    die "$EXIT_PREREQUISITE" "$run_dir: no checkpoint (step_<N>) found" "look at the log of step 5"
  guard G-TARGET-DATASET G-UPSTREAM-CONFIG G-UPSTREAM-PIN G-UPSTREAM-UNMODIFIED
  guards_settle

  [[ -z $UPSTREAM_COMMIT ]] || OUR_COMMIT=$(git -C "$TRM_DIR" rev-parse HEAD)
  printf '%s\n' "$OUR_COMMIT" >"$run_dir/TRM_COMMIT.txt"
  printf '%s\n' "RUN_NAME=$RUN_NAME" "CKPT=$checkpoint" "TRM_COMMIT=$(<"$run_dir/TRM_COMMIT.txt")" |
    tee "$summary" >&2
  printf '%s\n' "RUN_DIR=$run_dir" "CKPT=$checkpoint" "ENV_LOG=.repro/env_${TARGET_DATASET}_${RUN_NAME}.txt" \
    "SUMMARY=$summary" >"$ARTIFACTS/MANIFEST.txt"
  ln -sfn "$RUN_NAME/MANIFEST.txt" artifacts/MANIFEST.txt
  ln -sfn "$RUN_NAME/manifest.json" artifacts/manifest.json
  # COMMANDS.txt beside the checkpoints; manifest.json, statement.json and verdict.json among the artifacts
  verdict=$(knob_defaults | repro step prove --run-dir "$run_dir" ${SIGNING_KEY:+--key "$SIGNING_KEY"}) ||
    die "$EXIT_INVARIANT" "what the training left is not what it must be" \
      "what is wrong stands above: an error, or lines marked BROKEN, which are in $ARTIFACTS/verdict.json, too"
  step_done "$FINAL_CHECKPOINT${FINAL_CHECKPOINT:+, }verdict: $verdict; manifest in $ARTIFACTS/manifest.json" \
    "$run_dir/TRM_COMMIT.txt" "$run_dir/COMMANDS.txt" "$summary" "$ARTIFACTS/MANIFEST.txt" \
    "$ARTIFACTS/manifest.json" "$ARTIFACTS/statement.json" "$ARTIFACTS/verdict.json"
}

main "$@"

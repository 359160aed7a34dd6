#!/usr/bin/env bash
# Usage: steps/06-verify.sh [--help] [--dry-run] [--force]
# Summary: Find the final checkpoint, score the submission, and write down what made them.
# Reads: the checkpoint folder, the dataset, the records of all steps.
# Writes: TRM_COMMIT.txt and COMMANDS.txt beside the checkpoints, .repro/summary_${RUN_NAME}.txt, artifacts/${RUN_NAME}/.
# Guarantees: the final checkpoint is the one with the highest step; faithful or not follows from the facts.
# Environment: TARGET_DATASET RUN_NAME TRM_DIR
# Exit: 0 done or fresh · 3 no checkpoint · 4 what is there is not what the recipe promises

source "$(dirname "${BASH_SOURCE[0]}")/../lib/prelude.bash"

main() {
  step_begin "$@"
  ((! DRY_RUN)) || return 0
  local run_dir=$TRM_DIR/$CHECKPOINT_FOLDER checkpoint summary=.repro/summary_$RUN_NAME.txt
  run_dir=$(short "$run_dir")
  checkpoint=$(repro checkpoint "$run_dir") || exit
  guard G-TARGET-DATASET G-UPSTREAM-PIN G-UPSTREAM-UNMODIFIED
  guards_settle

  git -C "$([[ -n $UPSTREAM_COMMIT ]] && echo "$TRM_DIR" || echo .)" rev-parse HEAD >"$run_dir/TRM_COMMIT.txt"
  repro commands >"$run_dir/COMMANDS.txt"
  printf '%s\n' "RUN_NAME=$RUN_NAME" "CKPT=$checkpoint" "TRM_COMMIT=$(<"$run_dir/TRM_COMMIT.txt")" | tee "$summary" >&2

  local submission=$run_dir/evaluator_ARC_${checkpoint##*/}/submission.json
  [[ ! -f $submission ]] ||
    repro submission check "$submission" --tasks "$TRM_DIR/$DATASET_FOLDER/test_puzzles.json" | tee "$ARTIFACTS/score.txt" >&2

  printf '%s\n' "RUN_DIR=$run_dir" "CKPT=$checkpoint" "ENV_LOG=.repro/env_${TARGET_DATASET}_${RUN_NAME}.txt" \
    "SUMMARY=$summary" >"$ARTIFACTS/MANIFEST.txt"
  knob_defaults | repro manifest "$ARTIFACTS/manifest.json"
  ln -sfn "$RUN_NAME/MANIFEST.txt" artifacts/MANIFEST.txt
  ln -sfn "$RUN_NAME/manifest.json" artifacts/manifest.json
  step_done "final checkpoint ${checkpoint##*/}; manifest in $ARTIFACTS/manifest.json" \
    "$run_dir/TRM_COMMIT.txt" "$run_dir/COMMANDS.txt" "$summary" "$ARTIFACTS/MANIFEST.txt" "$ARTIFACTS/manifest.json"
}

main "$@"

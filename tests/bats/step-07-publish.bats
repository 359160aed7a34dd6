#!/usr/bin/env bats
# Steps 7 and 8: the Kaggle folder, what may be sent, the notebook and the checklist.

setup_file() {
  load helper
  make_runbook "$BATS_FILE_TMPDIR"
  done_until 6
  rm .venv/bin # from here on trm-repro is a stub, which hands everything on but the upload
  mkdir .venv/bin
  ln -s "$REPO/.venv/bin/python" .venv/bin
  ln -s "$REPO/tests/bats/stub.bash" .venv/bin/trm-repro
  answer '"$REPO_OF_TEST/.venv/bin/trm-repro" "$@"' 'trm-repro *'
  rm "$STUBS/bin/trm-repro"
  mkdir "$HOME_OF_TEST/.kaggle"
  echo '{"username": "somebody", "key": "0123456789abcdef"}' >"$HOME_OF_TEST/.kaggle/kaggle.json"
  chmod 600 "$HOME_OF_TEST/.kaggle/kaggle.json"
}

setup() {
  load helper
  cd "$RUNBOOK" || return
  FOLDER=upstream/TinyRecursiveModels/kaggle_dataset_arc2_trm_arc2_paper_repro
  RECEIPT=artifacts/trm_arc2_paper_repro/published-kaggle.json
}

in_run() { in_runbook REPO_OF_TEST="$REPO" "$@"; }

@test "step 7 packages and sends nothing with PUBLISH_TO_KAGGLE=0" {
  local name
  in_run steps/07-publish.sh
  assert_success
  assert_output --partial 'nothing was sent'
  for name in model.ckpt dataset-metadata.json README.md identifiers.json all_config.yaml manifest.json; do
    assert_file "$FOLDER/$name"
  done
  cmp "$FOLDER/model.ckpt" upstream/TinyRecursiveModels/checkpoints/*/trm_arc2_paper_repro/step_723914
  assert_in_file '"TRM ARC-AGI-2 Weights (trm_arc2_paper_repro)"' "$FOLDER/dataset-metadata.json"
  run grep -q 'publish kaggle' "$STUBS/calls"
  assert_failure 1
}

@test "step 7 publishes nothing that step 6 has not checked, whatever manifest an earlier attempt left" {
  mv .repro/runs/trm_arc2_paper_repro/06-verify.stamp "$BATS_TEST_TMPDIR"
  in_run steps/07-publish.sh
  mv "$BATS_TEST_TMPDIR/06-verify.stamp" .repro/runs/trm_arc2_paper_repro
  assert_failure 3
  assert_output --partial 'step 6 of this run has not succeeded'
  assert_output --partial 'make step-6'
}

@test "step 7 says when the upload fails, and is not done" {
  plan 'echo "error: told so" >&2; exit 4' trm-repro publish kaggle --bundle "$RUNBOOK/$FOLDER" --receipt "$RECEIPT"
  in_run PUBLISH_TO_KAGGLE=1 KAGGLE_USERNAME=somebody steps/07-publish.sh
  assert_failure 4 # the upload's own code: it knows why
  assert_output --partial 'error: told so'
  refute_file .repro/runs/trm_arc2_paper_repro/07-publish.stamp
}

@test "step 7 hands the same folder to both uploads with PUBLISH_TO_KAGGLE=1 and PUBLISH_TO_HF=1" {
  no_plan
  plan 'echo uploaded' trm-repro publish kaggle --bundle "$RUNBOOK/$FOLDER" --receipt "$RECEIPT"
  plan 'echo sent' trm-repro publish hf --bundle "$RUNBOOK/$FOLDER" --receipt "${RECEIPT/kaggle/hf}"
  in_run PUBLISH_TO_KAGGLE=1 KAGGLE_USERNAME=somebody PUBLISH_TO_HF=1 HF_REPO_ID=somebody/weights steps/07-publish.sh
  assert_success
  assert_plan_done
  assert_output --partial 'uploaded as Kaggle dataset somebody/trm-arc2-weights-trm_arc2_paper_repro'
  assert_output --partial 'as somebody/weights on Hugging Face'
  assert_in_file '"id": "somebody/trm-arc2-weights-trm-arc2-paper-repro"' "$FOLDER/dataset-metadata.json"
}

@test "step 8 writes the notebook and the checklist, each box with its evidence" {
  in_run PUBLISH_TO_KAGGLE=1 KAGGLE_USERNAME=somebody KAGGLE_COMPETITION=arc-prize-2025 steps/08-handoff.sh
  assert_success
  assert_in_file '\"COMPETITION\", \"arc-prize-2025\"' artifacts/trm_arc2_paper_repro/notebook.ipynb
  assert_in_file '"arc-prize-2025"' artifacts/trm_arc2_paper_repro/kernel-metadata.json
  assert_in_file 'kaggle.com/competitions/arc-prize-2025' artifacts/trm_arc2_paper_repro/CHECKLIST.txt
  assert_in_file 'GPU L4 x4, Internet off' artifacts/trm_arc2_paper_repro/CHECKLIST.txt
  assert_equal "$(grep -c '^\[x\] ' artifacts/trm_arc2_paper_repro/CHECKLIST.txt)" 8
  assert_in_file '[x] Kaggle Dataset created/versioned' artifacts/trm_arc2_paper_repro/CHECKLIST.txt
  assert_in_file "$STANDIN_COMMIT" artifacts/trm_arc2_paper_repro/CHECKLIST.txt
}

@test "step 7 stops without credentials before it packages" {
  rm "$HOME_OF_TEST/.kaggle/kaggle.json"
  rm -r "$FOLDER"
  in_run PUBLISH_TO_KAGGLE=1 KAGGLE_USERNAME=somebody steps/07-publish.sh --force
  assert_failure 3
  assert_output --partial 'G-KAGGLE-CREDENTIALS'
  refute_file "$FOLDER"
}

@test "step 7 leaves a folder alone that is not its own" {
  mkdir -p "$BATS_TEST_TMPDIR/precious" && touch "$BATS_TEST_TMPDIR/precious/thesis.tex"
  in_run KAGGLE_DS_DIR="$BATS_TEST_TMPDIR/precious" steps/07-publish.sh --force
  assert_failure 4
  assert_output --partial 'is there already and is not a bundle'
  assert_file "$BATS_TEST_TMPDIR/precious/thesis.tex"
}

@test "step 8 says what it lacks without a bundle, and is not done" {
  in_run RUN_NAME=another steps/08-handoff.sh
  assert_failure 3
  assert_output --partial 'make step-7'
  refute_file .repro/runs/another/08-handoff.stamp
}

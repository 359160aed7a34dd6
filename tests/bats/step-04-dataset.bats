#!/usr/bin/env bats
# Step 4: the recipe's builder command, and what its result is worth.

load helper
setup() {
  make_runbook "$BATS_TEST_TMPDIR"
  clone_upstream
  training_environment
  make_venv "$UPSTREAM/.venv"
  written_down
  DATASET=$UPSTREAM/data/arc2concept-aug-1000
}

@test "step 4 runs the seed's builder command in TRM_DIR, with PYTHONHASHSEED=0 (D-13)" {
  seed_words builder
  plan 'pwd >"$STUBS/where"; echo "$PYTHONHASHSEED" >"$STUBS/hashseed"; real_python "$@"' "${SEED[@]}"
  in_runbook steps/04-dataset.sh
  assert_success
  assert_plan_done
  assert_equal "$(<"$STUBS/where")" "$UPSTREAM"
  assert_equal "$(<"$STUBS/hashseed")" 0
  assert_in_file '"PYTHONHASHSEED": "0"' .repro/runs/trm_arc2_paper_repro/commands.jsonl
  assert_output --partial 'byte for byte'
  assert_in_file '2 of 4 test pairs (0 as they are) and 0 of 3 tasks' artifacts/trm_arc2_paper_repro/dataset.txt
  assert_output --partial 'byte for byte; leaks: 2 of 4 test pairs'
  assert_in_file 'task 0e000001: test input 1 is, augmented, test example 0 of Center1 in concept' \
    artifacts/trm_arc2_paper_repro/dataset.txt
}

@test "step 4 sets a dataset aside that no stamp vouches for, however finished it looks (D-14)" {
  mkdir -p "$UPSTREAM/data"
  cp -R "$BATS_SUITE_TMPDIR/dataset" "$DATASET"
  touch "$DATASET/somebody-else-made-this"
  in_runbook steps/04-dataset.sh
  assert_success
  assert_output --partial 'no stamp vouches for it'
  refute_file "$DATASET/somebody-else-made-this"
  assert_file "$DATASET".set-aside-*/somebody-else-made-this
}

@test "step 4 refuses a dataset that is not the one the recipe's digests name (D-14)" {
  answer 'real_python "$@" && echo " " >>data/arc2concept-aug-1000/identifiers.json' \
    'python -m dataset.build_arc_dataset *'
  in_runbook steps/04-dataset.sh
  assert_failure 4
  assert_output --partial 'different: identifiers.json: expected sha256'
  refute_file .repro/runs/trm_arc2_paper_repro/04-dataset.stamp
}

@test "step 4 refuses task files that are not upstream's, before it builds" {
  local file=$UPSTREAM/kaggle/combined/arc-agi_concept_solutions.json
  echo ' ' >>"$file"
  in_runbook OVERRIDE=G-UPSTREAM-UNMODIFIED steps/04-dataset.sh
  assert_failure 4
  assert_output --partial "arc-agi_concept_solutions.json: expected "
  assert_output --partial "found $(sha256sum "$file" | cut -d' ' -f1)"
  refute_file "$DATASET"
}

@test "step 4 says that task files are missing" {
  rm "$UPSTREAM/kaggle/combined/arc-agi_training2_challenges.json"
  in_runbook OVERRIDE=G-UPSTREAM-UNMODIFIED steps/04-dataset.sh
  assert_failure 3
  assert_output --partial 'arc-agi_training2_challenges.json: no such file'
}

@test "step 4, when its builder ends on Ctrl-C, was interrupted: nothing failed" {
  seed_words builder
  plan 'echo "error: interrupted"; exit 130' "${SEED[@]}"
  in_runbook steps/04-dataset.sh
  assert_failure 130
  refute_output 'failed'
  assert_output --partial 'hint: the log of this step is'
  assert_in_file '"exit_code": 130' .repro/runs/trm_arc2_paper_repro/commands.jsonl
}

@test "step 4 fails with the builder, names its log, and the next run trusts nothing that was left" {
  in_runbook STANDIN_FAIL=builder steps/04-dataset.sh
  assert_failure 5
  assert_output --partial 'RuntimeError: the stand-in was told to fail here'
  assert_output --partial 'error: the dataset builder failed'
  assert_output --partial 'hint: the log of this step is logs/trm_arc2_paper_repro/04-dataset.'
  assert_in_file 'the stand-in was told to fail here' logs/trm_arc2_paper_repro/04-dataset.*.log
  assert_file "$DATASET/train/all__inputs.npy"
  in_runbook steps/04-dataset.sh
  assert_success
  assert_output --partial 'set aside as'
}

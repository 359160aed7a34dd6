#!/usr/bin/env bats
# What runs share belongs to its folder: another run finds it by what it is; what another uses is never moved; the
# record of a finished training outlives `make clean`.

load helper

# One run up to step 6, undisturbed; each test gets a copy of all that it left.
setup_file() {
  make_runbook "$BATS_FILE_TMPDIR"
  answer 'make_venv "$3" && cd "$3" && mkdir -p lib/python3.10/site-packages' 'python3.10 -m venv *'
  done_until 6
  cp artifacts/trm_arc2_paper_repro/manifest.json "$BATS_FILE_TMPDIR/undisturbed.json"
  local name # runs that begin at step 4: what step 3 would write down
  for name in third fourth user other overridden; do
    cp .repro/env_arc2_{trm_arc2_paper_repro,"$name"}.json && cp .repro/env_arc2_{trm_arc2_paper_repro,"$name"}.txt
  done
}
setup() {
  cd "$RUNBOOK" || return
  UPSTREAM=$RUNBOOK/upstream/TinyRecursiveModels
  RUN=trm_arc2_paper_repro
  no_plan
}

# listing: every file of the dataset and of the environment. (Step 1 tries whether VENV_DIR can be written to.)
listing() {
  find "$UPSTREAM/data" "$UPSTREAM/.venv" ! -name '*.lock' ! -path "$UPSTREAM/.venv" -printf '%p %i %T@\n' | sort
}

# same_but_for_times A NAME B NAME: two manifests say the same, times, logs and the runs' names aside.
same_but_for_times() {
  run "$STANDIN_PYTHON" "$REPO/tests/chaos/same.py" "$@"
  assert_success
}

# bats test_tags=deep
@test "another run finds clone, environment and dataset by what they are, and its manifest says how they were made" {
  local step before
  before=$(listing)
  for step in steps/0[1-4]-*.sh; do
    in_runbook RUN_NAME=second "$step"
    assert_success
    refute_output '-> pip'
    refute_output 'set aside'
  done
  assert_output --partial 'is what its voucher vouches for, byte for byte: taken as it is'
  assert_equal "$(grep -cE '^(pip install|python3.10 -m venv|python -m dataset)' "$STUBS/calls")" 0
  assert_equal "$(listing)" "$before"
  for step in steps/0[56]-*.sh; do
    in_runbook RUN_NAME=second "$step"
    assert_success
  done
  same_but_for_times "$BATS_FILE_TMPDIR/undisturbed.json" "$RUN" artifacts/second/manifest.json second
  assert_in_file '"faithful": true' artifacts/second/manifest.json
}

# bats test_tags=deep
@test "a dataset is not taken where a byte, its command, or a guard of its making is another" {
  local data=$UPSTREAM/data/arc2concept-aug-1000
  printf X 1<>"$data/train/all__labels.npy"
  touch -r "$data/train/all__inputs.npy" "$data/train/all__labels.npy"
  in_runbook RUN_NAME=third steps/04-dataset.sh
  assert_success
  assert_output --partial 'does not vouch for what is there: different: arc2concept-aug-1000/train/all__labels.npy'
  assert_output --partial 'set aside as'
  in_runbook RUN_NAME=third EXTRA_BUILDER_ARGS='--seed 42' OVERRIDE=G-BUILDER-COMMAND steps/04-dataset.sh
  assert_success
  assert_output --partial 'it was made for something else: command'
  refute_file "$data.voucher.json" # made past a guard: its own run may use it, no other
  in_runbook RUN_NAME=fourth steps/04-dataset.sh
  assert_success
  assert_output --partial 'set aside as'
  assert_file "$data.voucher.json"
}

# bats test_tags=deep
@test "what another run uses at this moment is never moved" {
  local data=$UPSTREAM/data/arc2concept-aug-1000
  in_background RUN_NAME=user STANDIN_PAUSE="$BATS_TEST_TMPDIR/paused" steps/05-train.sh
  wait_for "$BATS_TEST_TMPDIR/paused"
  in_runbook RUN_NAME=other steps/04-dataset.sh
  assert_success # the same dataset: both use it
  in_runbook RUN_NAME=other EXTRA_BUILDER_ARGS='--seed 42' OVERRIDE=G-BUILDER-COMMAND steps/04-dataset.sh
  assert_failure 4
  assert_output --partial 'another run uses upstream/TinyRecursiveModels/data/arc2concept-aug-1000 at this moment'
  in_runbook RUN_NAME=other ENV_LOCK=none steps/03-venv.sh
  assert_failure 4
  assert_output --partial 'another run uses upstream/TinyRecursiveModels/.venv at this moment'
  assert_file "$data/identifiers.json"
  rm "$BATS_TEST_TMPDIR/paused"
  ended
  assert_success
}

# bats test_tags=deep
@test "make clean keeps the record of a finished training: make all takes it up again, and the manifest is the same" {
  local folder=$UPSTREAM/checkpoints/Arc2concept-aug-1000-ACT-torch/trm_arc2_paper_repro before step
  before=$(find "$folder" -name 'step_*' -printf '%p %i %T@\n' | sort)
  in_runbook make clean YES=1
  assert_success
  refute_file .repro/runs
  in_runbook steps/05-train.sh # alone, and before the others
  assert_success
  assert_output --partial 'taken up again'
  for step in steps/0[1-6]-*.sh; do
    in_runbook "$step"
    assert_success
  done
  assert_equal "$(grep -c '^torchrun' "$STUBS/calls")" 0
  assert_equal "$(find "$folder" -name 'step_*' -printf '%p %i %T@\n' | sort)" "$before"
  same_but_for_times "$BATS_FILE_TMPDIR/undisturbed.json" "$RUN" "artifacts/$RUN/manifest.json" "$RUN"
  assert_in_file '"state": "finished"' ".repro/runs/$RUN/training.json"
}

# bats test_tags=deep
@test "a guard that broke in step 6 and holds again is forgotten; one overridden while it trained is not" {
  echo '# changed' >>"$UPSTREAM/models/losses.py"
  in_runbook steps/06-verify.sh --force
  assert_broken G-UPSTREAM-UNMODIFIED
  in_runbook OVERRIDE=G-UPSTREAM-UNMODIFIED steps/06-verify.sh
  assert_success
  assert_in_file '"faithful": false' "artifacts/$RUN/manifest.json"
  git -C "$UPSTREAM" checkout --quiet -- models/losses.py
  in_runbook steps/06-verify.sh --force
  assert_success
  same_but_for_times "$BATS_FILE_TMPDIR/undisturbed.json" "$RUN" "artifacts/$RUN/manifest.json" "$RUN"
  in_runbook RUN_NAME=overridden OVERRIDE=G-UPSTREAM-UNMODIFIED steps/05-train.sh
  assert_success
  echo '# changed' >>"$UPSTREAM/models/losses.py"
  in_runbook RUN_NAME=overridden OVERRIDE=G-UPSTREAM-UNMODIFIED steps/05-train.sh --force
  git -C "$UPSTREAM" checkout --quiet -- models/losses.py
  rm -r .repro/runs/overridden # the voucher remembers, too
  in_runbook RUN_NAME=overridden steps/05-train.sh
  assert_output --partial 'taken up again'
  in_runbook RUN_NAME=overridden steps/06-verify.sh
  assert_output --partial 'G-UPSTREAM-UNMODIFIED was overridden' # and the changed file lies among the sources it left
}

# bats test_tags=deep
@test "killed as its voucher is there and its stamp is not, each step completes, and the manifest is the same" {
  local step
  for step in 02-clone 03-venv 04-dataset 05-train; do
    rm ".repro/runs/$RUN/$step.stamp"
    in_runbook "steps/$step.sh"
    assert_success
  done
  in_runbook steps/06-verify.sh --force
  assert_success
  same_but_for_times "$BATS_FILE_TMPDIR/undisturbed.json" "$RUN" "artifacts/$RUN/manifest.json" "$RUN"
}

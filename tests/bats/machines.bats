#!/usr/bin/env bats
# A run on machines that are taken away: what a bucket keeps is what the next machine goes on from.

load helper
setup() {
  make_runbook "$BATS_TEST_TMPDIR"
  cp -R "$REPO/machines" .
  training_environment
}

@test "a machine that takes over makes clone and environment anew, takes the dataset from the bucket, and trains" {
  local bucket=$BATS_TEST_TMPDIR/bucket
  answer 'echo taken away >&2; exit 137' 'torchrun *'
  in_runbook machines/with-bucket.sh "$bucket"
  [[ $status != 0 ]] || fail "$(shown 'the training should have been taken away')"
  assert_file "$bucket/work/data/arc2concept-aug-1000/identifiers.json"
  assert_file "$bucket/.repro/runs/trm_arc2_paper_repro/04-dataset.stamp"

  # another machine, at the same path, with nothing but this repository
  cd "$BATS_TEST_TMPDIR" && rm -rf "$RUNBOOK" && cp -a "$TEMPLATE" "$RUNBOOK" && cd "$RUNBOOK" && cp -R "$REPO/machines" .
  answer 'real_torchrun "$@"' 'torchrun *'
  in_runbook machines/with-bucket.sh "$bucket"
  assert_success
  refute_output '01-sanity: fresh'
  assert_output --partial '02-clone: upstream at'
  assert_output --partial '04-dataset: fresh'
  assert_equal "$(grep -c '^python -m dataset.build_arc_dataset' "$STUBS/calls")" 1
  assert_file "$bucket"/work/checkpoints/*/trm_arc2_paper_repro/step_723914
  assert_file "$bucket/artifacts/trm_arc2_paper_repro/manifest.json"

  # and a third one finds all of it done, the clone and the environment aside
  cd "$BATS_TEST_TMPDIR" && rm -rf "$RUNBOOK" && cp -a "$TEMPLATE" "$RUNBOOK" && cd "$RUNBOOK" && cp -R "$REPO/machines" .
  in_runbook machines/with-bucket.sh "$bucket"
  assert_success
  assert_output --partial '05-train: fresh'
}

@test "half a file in the bucket is not believed" {
  local bucket=$BATS_TEST_TMPDIR/bucket
  answer 'exit 137' 'torchrun *'
  in_runbook machines/with-bucket.sh "$bucket"
  truncate -s -1 "$bucket/work/data/arc2concept-aug-1000/identifiers.json"
  cd "$BATS_TEST_TMPDIR" && rm -rf "$RUNBOOK" && cp -a "$TEMPLATE" "$RUNBOOK" && cd "$RUNBOOK" && cp -R "$REPO/machines" .
  in_runbook machines/with-bucket.sh "$bucket"
  assert_output --partial '04-dataset: outputs changed'
  assert_equal "$(grep -c '^python -m dataset.build_arc_dataset' "$STUBS/calls")" 2
}

@test "a bucket has to be named" {
  in_runbook machines/with-bucket.sh
  assert_failure 2
}

#!/usr/bin/env bats
# A run on machines that are taken away: what a bucket keeps is what the next machine goes on from.

load helper
setup() {
  make_runbook "$BATS_TEST_TMPDIR"
  cp -R "$REPO/machines" .
  training_environment
}

# next_machine: another one, at the same path, with nothing but this repository.
next_machine() {
  cd "$BATS_TEST_TMPDIR" && rm -rf "$RUNBOOK" && cp -a "$TEMPLATE" "$RUNBOOK" && cd "$RUNBOOK" && cp -R "$REPO/machines" .
}

@test "a machine that takes over makes clone and environment anew, takes the dataset from the bucket, and trains" {
  local bucket=$BATS_TEST_TMPDIR/bucket
  answer 'echo taken away >&2; exit 137' 'torchrun *'
  in_runbook machines/with-bucket.sh "$bucket"
  [[ $status != 0 ]] || fail "$(shown 'the training should have been taken away')"
  assert_file "$bucket/work/data/arc2concept-aug-1000/identifiers.json"
  assert_file "$bucket/.repro/runs/trm_arc2_paper_repro/04-dataset.stamp"

  next_machine
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
  next_machine
  in_runbook machines/with-bucket.sh "$bucket"
  assert_success
  assert_output --partial '05-train: fresh'
}

# (Step 6 does not end well here: the stand-in's number of steps passes in a run that is as the paper's only.)
@test "a machine taken away while it trains: its checkpoints are in the bucket, RESUME=warm begins with them, and no attempt is mixed with another" {
  local bucket=$BATS_TEST_TMPDIR/bucket run i
  answer "STANDIN_PAUSE=$BATS_TEST_TMPDIR/paused real_torchrun \"\$@\"" 'torchrun *'
  in_background TAKEN_AWAY="$BATS_TEST_TMPDIR" KEEP_EVERY=1 RESUME=warm machines/with-bucket.sh "$bucket"
  for ((i = 0; i < 3000; i++)); do
    run=$(compgen -G "$bucket/work/checkpoints/*/trm_arc2_paper_repro/step_361957") && break
    sleep 0.1
  done
  [[ -n $run ]] || fail "no checkpoint came; $(cat "$STUBS/background")"
  grep -lsz "^TAKEN_AWAY=$BATS_TEST_TMPDIR$" /proc/[0-9]*/environ | cut -d/ -f3 | xargs kill -KILL || true
  wait "$BACKGROUND" || true
  refute_file "$bucket/.repro/runs/trm_arc2_paper_repro/05-train.stamp"

  echo 'half of one' >"${run%/*}/step_400000"
  next_machine
  answer 'real_torchrun "$@"' 'torchrun *'
  in_runbook RESUME=warm machines/with-bucket.sh "$bucket"
  assert_output --partial '04-dataset: fresh'
  assert_output --partial 'Loading checkpoint checkpoints/'
  assert_file "$bucket"/work/checkpoints/*/trm_arc2_paper_repro.set-aside-*/step_361957
  assert_file "$bucket"/work/checkpoints/*/trm_arc2_paper_repro.set-aside-*/step_400000
  refute_file "${run%/*}/step_400000"

  next_machine
  in_runbook RESUME=warm machines/with-bucket.sh "$bucket"
  assert_output --partial '05-train: fresh'
}

@test "half a file in the bucket is not believed" {
  local bucket=$BATS_TEST_TMPDIR/bucket
  answer 'exit 137' 'torchrun *'
  in_runbook machines/with-bucket.sh "$bucket"
  truncate -s -1 "$bucket/work/data/arc2concept-aug-1000/identifiers.json"
  next_machine
  in_runbook machines/with-bucket.sh "$bucket"
  assert_output --partial '04-dataset: outputs changed'
  assert_equal "$(grep -c '^python -m dataset.build_arc_dataset' "$STUBS/calls")" 2
}

@test "a bucket has to be named" {
  in_runbook machines/with-bucket.sh
  assert_failure 2
}

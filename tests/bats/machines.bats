#!/usr/bin/env bats
# A run on machines that are taken away: what a bucket keeps is what the next machine goes on from.

load helper

setup() {
  make_runbook "$BATS_TEST_TMPDIR"
  training_environment
  MACHINE=$BATS_TEST_TMPDIR/machine BUCKET=$BATS_TEST_TMPDIR/bucket
  cp -R "$REPO/machines" .
}
# next_machine: another one, at the same path, with nothing but this repository.
next_machine() {
  cd "$BATS_TEST_TMPDIR" && rm -rf "$RUNBOOK" && cp -a "$MACHINE" "$RUNBOOK" && cd "$RUNBOOK" || return
}

# stood_in: the steps beside those that a bucket is about have no work here. They say their name.
stood_in() {
  local step
  for step in 01-sanity 06-verify 07-publish 08-handoff; do
    printf '#!/bin/sh\necho %s: stood in\n' "$step" >"steps/$step.sh"
  done
  printf '%s\n' '#!/usr/bin/env bash' "source '$REPO/tests/bats/venv.bash'" \
    "make_venv '$RUNBOOK/upstream/TinyRecursiveModels/.venv' && mkdir -p .repro" \
    "cp '$BATS_SUITE_TMPDIR/venv.json' .repro/env_arc2_trm_arc2_paper_repro.json" 'echo 03-venv: stood in' \
    >steps/03-venv.sh
}

# bats test_tags=deep
@test "taken away while it trains: its checkpoints are in the bucket, RESUME=warm begins with them, none is mixed" {
  local run
  stood_in
  cp -a . "$MACHINE"
  answer "STANDIN_PAUSE=$BATS_TEST_TMPDIR/paused real_torchrun \"\$@\"" 'torchrun *'
  in_background KEEP_EVERY=0.2 RESUME=warm machines/with-bucket.sh "$BUCKET"
  wait_for "$BUCKET/work/checkpoints/*/trm_arc2_paper_repro/step_361957"
  run=$(compgen -G "$BUCKET/work/checkpoints/*/trm_arc2_paper_repro")
  kill_all
  assert_file "$BUCKET/work/data/arc2concept-aug-1000/identifiers.json"
  assert_file "$BUCKET/.repro/runs/trm_arc2_paper_repro/04-dataset.stamp"
  refute_file "$BUCKET/.repro/runs/trm_arc2_paper_repro/05-train.stamp"

  # the next one makes clone and environment anew, takes the dataset from the bucket, and trains
  echo 'half of one' >"$run/step_400000"
  next_machine
  answer 'real_torchrun "$@"' 'torchrun *'
  in_runbook RESUME=warm machines/with-bucket.sh "$BUCKET"
  assert_success
  assert_output --partial '02-clone: upstream at'
  assert_output --partial '03-venv: stood in'
  assert_output --partial '04-dataset: fresh'
  assert_output --partial 'Loading checkpoint checkpoints/'
  assert_equal "$(grep -c '^python -m dataset.build_arc_dataset' "$STUBS/calls")" 1
  assert_file "$run/step_723914"
  assert_file "$run".set-aside-*/step_361957
  assert_file "$run".set-aside-*/step_400000
  refute_file "$run/step_400000"

  # and a third one finds that done, and does not believe half a file in the bucket
  truncate -s -1 "$BUCKET/work/data/arc2concept-aug-1000/identifiers.json"
  next_machine
  in_runbook RESUME=warm machines/with-bucket.sh "$BUCKET"
  assert_success
  assert_output --partial '04-dataset: outputs changed'
  assert_equal "$(grep -c '^python -m dataset.build_arc_dataset' "$STUBS/calls")" 2
  assert_output --partial '05-train: fresh'
}

# bats test_tags=deep
@test "a machine that takes over makes clone and environment anew, and goes through all eight steps" {
  cp -a . "$MACHINE"
  answer 'echo taken away >&2; exit 137' 'torchrun *'
  in_runbook machines/with-bucket.sh "$BUCKET"
  [[ $status != 0 ]] || fail "$(shown 'the training should have been taken away')"
  next_machine
  answer 'real_torchrun "$@"' 'torchrun *'
  in_runbook machines/with-bucket.sh "$BUCKET"
  assert_success
  refute_output '01-sanity: fresh'
  assert_output --partial '02-clone: upstream at'
  assert_output --partial '04-dataset: fresh'
  assert_file "$BUCKET"/work/checkpoints/*/trm_arc2_paper_repro/step_723914
  assert_file "$BUCKET/artifacts/trm_arc2_paper_repro/manifest.json"

  # and a third one finds all of it done, the clone and the environment aside
  next_machine
  in_runbook machines/with-bucket.sh "$BUCKET"
  assert_success
  assert_output --partial '05-train: fresh'
}

@test "a bucket has to be named" {
  in_runbook machines/with-bucket.sh
  assert_failure 2
}

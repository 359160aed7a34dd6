#!/usr/bin/env bats
# What a step does when it is killed, and when another is at work: nothing half-written is trusted, nothing goes on
# alone.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

# kill_in_the_middle STEP: starts the step, waits until its work is half done, and kills its shell, which cannot react.
kill_in_the_middle() {
  in_background STANDIN_PAUSE="$BATS_TEST_TMPDIR/paused" "$1"
  wait_for "$BATS_TEST_TMPDIR/paused"
  ORPHAN=$(pgrep_standin)
  kill -KILL "$(pid_of_step)"
  ended
}
# A killed process whose parent is gone may stay a zombie until somebody waits for it.
alive() { grep -qs '^State:.[^ZX]' "/proc/$1/status"; }
pid_of_step() { sed -n 's/.*(process \([0-9]*\)).*/\1/p' .repro/runs/*/lock; }
pgrep_standin() { of_this_test | tail -n 1; }

@test "step 4 killed half-way: the next run ends the orphan, sets the half-built dataset aside, and completes" {
  clone_upstream
  training_environment
  make_venv "$UPSTREAM/.venv"
  written_down
  kill_in_the_middle steps/04-dataset.sh
  alive "$ORPHAN" || fail 'the builder did not survive its step: this test tests nothing'
  assert_file "$UPSTREAM/data/arc2concept-aug-1000/train/all__inputs.npy"
  refute_file "$UPSTREAM/data/arc2concept-aug-1000/identifiers.json"
  in_runbook steps/04-dataset.sh
  assert_success
  assert_output --partial "process $ORPHAN of an earlier, killed attempt was still running: ended it"
  assert_output --partial 'set aside as'
  ! alive "$ORPHAN" || fail 'the orphan is still there'
  assert_file "$UPSTREAM/data/arc2concept-aug-1000/identifiers.json"
  assert_file "$UPSTREAM"/data/arc2concept-aug-1000.set-aside-*/train/all__inputs.npy
  refute_file "$UPSTREAM"/data/arc2concept-aug-1000.set-aside-*/identifiers.json
}

# What trains is ended by its supervisor, which sees that the step is gone, or else by the next run: whichever is first.
@test "step 5 killed half-way: the next run ends the orphans, sets the checkpoints aside, and starts again (D-15)" {
  built
  kill_in_the_middle steps/05-train.sh
  assert_file "$UPSTREAM"/checkpoints/*/trm_arc2_paper_repro/step_361957
  in_runbook steps/05-train.sh
  assert_success
  assert_output --partial 'set aside as'
  ! alive "$ORPHAN" || fail 'the orphan is still there'
  assert_file "$UPSTREAM"/checkpoints/*/trm_arc2_paper_repro/step_723914
  assert_file "$UPSTREAM"/checkpoints/*/trm_arc2_paper_repro.set-aside-*/step_361957
  refute_file "$UPSTREAM"/checkpoints/*/trm_arc2_paper_repro.set-aside-*/step_723914
  assert_equal "$(grep -c '"step": "05-train", "argv"' .repro/runs/*/commands.jsonl)" 1
}

@test "what has the same path on another disk, as containers that share processes have, is not this run's: it lives" {
  local mark other ours
  clone_upstream
  mark=$PWD/.repro/runs/trm_arc2_paper_repro
  env TRM_REPRO_STEP="$mark on device 1" sleep 60 3>&- &
  other=$!
  env TRM_REPRO_STEP="$mark on device $(stat --format=%d .)" sleep 60 3>&- &
  ours=$!
  in_runbook steps/02-clone.sh
  assert_success
  assert_output --partial "process $ours of an earlier, killed attempt was still running: ended it"
  refute_output "process $other "
  alive "$other" || fail 'the process of another run was ended'
  kill "$other"
}

@test "two runs of one step at a time: the second waits, and finds it fresh; another run does not wait" {
  local first
  clone_upstream
  training_environment
  make_venv "$UPSTREAM/.venv"
  written_down
  in_background STANDIN_PAUSE="$BATS_TEST_TMPDIR/paused" steps/04-dataset.sh
  first=$BACKGROUND
  wait_for "$BATS_TEST_TMPDIR/paused"
  in_runbook RUN_NAME=another steps/01-sanity.sh
  assert_success
  mv "$STUBS/background" "$STUBS/first"
  in_background steps/04-dataset.sh
  wait_until grep -q 'waiting for it to end' "$STUBS/background"
  rm "$BATS_TEST_TMPDIR/paused"
  wait "$first" || fail "$(cat "$STUBS/first")"
  wait "$BACKGROUND" || fail "$(cat "$STUBS/background")"
  assert_in_file '04-dataset (process ' "$STUBS/background"
  assert_equal "$(tail -n 1 "$STUBS/background")" '04-dataset: fresh'
  assert_equal "$(grep -c '"step": "04-dataset", "argv"' .repro/runs/trm_arc2_paper_repro/commands.jsonl)" 1
  assert_file "$UPSTREAM/data/arc2concept-aug-1000/identifiers.json"
}

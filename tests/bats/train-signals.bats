#!/usr/bin/env bats
# Ctrl-C ends a training cleanly, wherever it is, and says how to go on (D-34).

load helper
setup() {
  make_runbook "$BATS_TEST_TMPDIR"
  built
}

# half_way: starts step 5 and waits until its first checkpoint is there.
half_way() {
  in_background STANDIN_PAUSE="$BATS_TEST_TMPDIR/paused" steps/05-train.sh
  wait_for "$BATS_TEST_TMPDIR/paused"
}

@test "Ctrl-C: the whole foreground group gets SIGINT; the training is ended, and the step says how to go on (D-34)" {
  half_way
  kill -INT -- "-$BACKGROUND"
  ended
  assert_failure 130
  wait_until none_left
  assert_output --partial '==> the training was stopped at step 361,957 of 723,914; its last checkpoint is step_361957'
  assert_output --partial 'hint: make all starts it again from the beginning, and sets this attempt aside'
  assert_output --partial 'RESUME=warm make all'
  refute_output Traceback
  refute_file .repro/runs/trm_arc2_paper_repro/05-train.stamp
  assert_in_file '"state": "stopped"' .repro/runs/trm_arc2_paper_repro/training.json
  assert_in_file '"exit_code": 130' .repro/runs/trm_arc2_paper_repro/commands.jsonl

  # the next run says so, sets the attempt aside, and trains
  in_runbook steps/05-train.sh
  assert_success
  assert_output --partial 'the last attempt at training did not finish: it was stopped (SIGINT) at step 361,957'
  assert_file "$UPSTREAM"/checkpoints/*/trm_arc2_paper_repro.set-aside-*/step_361957
}

@test "SIGTERM to the step's shell alone, as a batch system sends it: nothing is left behind" {
  half_way
  kill -TERM "$(sed -n 's/.*(process \([0-9]*\)).*/\1/p' .repro/runs/*/lock)"
  ended
  wait_until none_left
  assert_in_file '"state": "stopped"' .repro/runs/trm_arc2_paper_repro/training.json
}

@test "SIGTERM to every process at once, as Slurm sends it: the record and the log still say how it ended" {
  half_way
  of_this_test | xargs kill -TERM
  ended
  wait_until none_left
  assert_in_file '"state": "stopped"' .repro/runs/trm_arc2_paper_repro/training.json
  assert_in_file '==> the training was stopped at step 361,957 of 723,914' logs/trm_arc2_paper_repro/05-train.*.log
  in_runbook steps/05-train.sh
  assert_output --partial 'the last attempt at training did not finish: it was stopped (SIGTERM) at step 361,957'
}

@test "while it trains, make watch says so" {
  half_way
  in_runbook bash -c 'source lib/prelude.bash; repro watch --once'
  assert_success
  assert_output --partial 'running since'
  assert_output --partial '361,957 of 723,914 (50.0 %)'
  assert_output --partial '9 checkpoints of 27.3 MB to come'
  rm "$BATS_TEST_TMPDIR/paused"
  ended
  assert_success
  in_runbook bash -c 'source lib/prelude.bash; repro watch --once'
  assert_output --partial 'finished'
  assert_output --partial '@2 33.33 %'
}

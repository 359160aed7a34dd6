#!/usr/bin/env bats
# A failed training is explained from its output, with a next move that changes nothing of what is reproduced; and what
# upstream prints and ignores ends the run at once (D-33).

load helper

# One runbook for all: an attempt that failed is set aside by the next, so that they do not disturb each other.
setup_file() {
  make_runbook "$BATS_FILE_TMPDIR"
  built
}
setup() { cd "$RUNBOOK" || return; }

# fails_with STANDIN_FAIL FINDING REMEDY: step 5 ends with 5, says so, and leaves no stamp.
fails_with() {
  in_runbook STANDIN_FAIL="$1" steps/05-train.sh
  assert_failure 5
  assert_output --partial "error: $2: "
  assert_output --partial "$3"
  assert_output --partial 'error: the training failed'
  assert_output --partial 'hint: the log of this step is logs/'
  refute_file .repro/runs/trm_arc2_paper_repro/05-train.stamp
  assert_in_file '"state": "failed"' .repro/runs/trm_arc2_paper_repro/training.json
  assert_in_file "\"said\": \"$2: " .repro/runs/trm_arc2_paper_repro/training.json
}
# stops_at_once STANDIN_FAIL FINDING REMEDY: and not after the second evaluation.
stops_at_once() {
  in_runbook STANDIN_FAIL="$1" STANDIN_PAUSE="$BATS_TEST_TMPDIR/paused" steps/05-train.sh
  assert_failure 5
  assert_output --partial "error: $2: "
  assert_output --partial "$3"
  refute_output '[Rank 0, World Size 4]: Epoch 10000'
  refute_file .repro/runs/trm_arc2_paper_repro/05-train.stamp
}

@test "out of GPU memory: more GPUs or larger ones, never fewer, never a flag (D-16)" {
  fails_with oom 'out of GPU memory' 'fewer GPUs need more memory each; flags are never changed'
  refute_output 'reduce'
}
@test "killed by the system" { fails_with killed 'killed' 'more memory'; }
@test "anything else: its own words, and where they stand" {
  in_runbook STANDIN_FAIL=crash steps/05-train.sh
  assert_failure 5
  assert_output --partial 'error: unknown (exit code 1): RuntimeError: the stand-in was told to fail here'
  assert_output --partial 'hint: No rule knows this failure.'
}

@test "no evaluator: ended at once, although upstream would exit with 0 (D-33)" {
  stops_at_once no-evaluator 'no evaluator' 'make step-4 FORCE=1'
}

# that each is told from its words, tests/unit/test_training_diagnosis.py holds
# bats test_tags=deep
@test "every other cause of a failure is named, and what to do" {
  fails_with nccl NCCL 'Look at the first error in the log'
  fails_with extension 'missing extension' 'make step-3 FORCE=1'
  fails_with shm '/dev/shm too small' '--shm-size'
  fails_with disk 'disk full' 'free disk'
  fails_with port 'port in use' 'end the other training'
  fails_with login 'Weights & Biases refuses' 'Unset WANDB_API_KEY'
}
# bats test_tags=deep
@test "whatever else upstream prints and ignores: ended at once" {
  stops_at_once no-eval-data 'no test split' 'make step-4 FORCE=1'
  stops_at_once no-predictions 'missing predictions' 'make step-4 FORCE=1'
  stops_at_once reset-embedding 'puzzle table reset' 'unset RESUME'
}

@test "a training that ends well and saves nothing has failed" {
  in_runbook STANDIN_FAIL=no-checkpoint steps/05-train.sh
  assert_failure 5
  assert_output --partial 'left no checkpoint'
  refute_file .repro/runs/trm_arc2_paper_repro/05-train.stamp
}

# bats test_tags=deep
@test "after a failure, the next run says how the last attempt ended, sets it aside, and trains" {
  in_runbook STANDIN_FAIL=disk steps/05-train.sh
  assert_failure 5
  in_runbook steps/05-train.sh
  assert_success
  assert_output --partial 'the last attempt at training did not finish: disk full'
  assert_output --partial 'last seen at step 361,957 of 723,914; its last checkpoint is step_361957'
  assert_output --partial 'set aside as'
  assert_file .repro/runs/trm_arc2_paper_repro/05-train.stamp
}

# bats test_tags=deep
@test "after a reboot, the next run knows" {
  in_runbook steps/05-train.sh --force
  assert_success
  sed -i 's/"state": "finished"/"state": "running"/; s/"boot": ".*"/"boot": "the one before"/' \
    .repro/runs/trm_arc2_paper_repro/training.json
  rm .repro/runs/trm_arc2_paper_repro/05-train.stamp upstream/*/checkpoints/*/trm_arc2_paper_repro.voucher.json
  in_runbook steps/05-train.sh
  assert_success
  assert_output --partial 'did not finish: the machine was restarted while it ran'
}

#!/usr/bin/env bats
# RESUME=warm begins with the weights of the last whole checkpoint, and the run is not faithful any more (D-15).

load helper
setup_file() {
  make_runbook "$BATS_FILE_TMPDIR"
  built
  clean_environment STANDIN_FAIL=crash steps/05-train.sh >/dev/null 2>&1 || true
}
setup() {
  cd "$RUNBOOK" || return
  UPSTREAM=$RUNBOOK/upstream/TinyRecursiveModels
}

@test "anything but warm is refused" {
  in_runbook RESUME=exact steps/05-train.sh
  assert_failure 2
  assert_output --partial "RESUME is 'exact': use warm"
}

@test "the plan shows the words that would be added, and touches nothing" {
  in_runbook RESUME=warm steps/05-train.sh --dry-run
  assert_success
  assert_output --partial \
    '++load_checkpoint=checkpoints/Arc2concept-aug-1000-ACT-torch/trm_arc2_paper_repro/step_361957'
  assert_file "$UPSTREAM"/checkpoints/*/trm_arc2_paper_repro/step_361957
}

@test "RESUME=warm: upstream's warm start from the attempt set aside, recorded as an override (D-15)" {
  in_runbook RESUME=warm steps/05-train.sh
  assert_success
  assert_output --partial 'warning: G-TRAIN-COMMAND overridden: added: ++load_checkpoint=checkpoints/'
  assert_output --partial 'Loading checkpoint checkpoints/'
  assert_in_file '"guard": "G-TRAIN-COMMAND", "outcome": "overridden"' .repro/runs/trm_arc2_paper_repro/guards.jsonl
  assert_file "$UPSTREAM"/checkpoints/*/trm_arc2_paper_repro.set-aside-*/step_361957
  in_runbook steps/06-verify.sh
  assert_output --partial 'verdict: not comparable'
  assert_output --partial 'G-TRAIN-COMMAND was overridden: added: ++load_checkpoint='
}

@test "once it is done, the step is fresh with and without RESUME" {
  in_runbook steps/05-train.sh
  assert_success
  assert_output '05-train: fresh'
  in_runbook RESUME=warm steps/05-train.sh
  assert_output '05-train: fresh'
}

@test "no checkpoint, no warm start" {
  rm -r "$UPSTREAM"/checkpoints .repro/runs/trm_arc2_paper_repro/05-train.stamp
  in_runbook RESUME=warm steps/05-train.sh
  assert_failure 3
  assert_output --partial 'there is no checkpoint'
}

#!/usr/bin/env bats
# G-ENVIRONMENT: no variable that changes what is computed is set from outside.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

@test "G-ENVIRONMENT holds in a plain environment" {
  in_runbook steps/01-sanity.sh
  assert_success
  assert_guard G-ENVIRONMENT holds
}

@test "G-ENVIRONMENT is broken by each such variable, all named at once" {
  in_runbook PYTHONPATH=/somewhere TORCHDYNAMO_DISABLE=1 NVIDIA_TF32_OVERRIDE=0 steps/01-sanity.sh
  assert_broken G-ENVIRONMENT 3
  assert_output --partial 'PYTHONPATH=/somewhere TORCHDYNAMO_DISABLE=1 NVIDIA_TF32_OVERRIDE=0'
}

@test "G-ENVIRONMENT is broken by DISABLE_COMPILE even if it is empty, because upstream asks whether it is set" {
  in_runbook DISABLE_COMPILE= steps/01-sanity.sh
  assert_broken G-ENVIRONMENT 3
}

@test "G-ENVIRONMENT is looked at again before building and before training" {
  clone_upstream
  in_runbook PYTHONOPTIMIZE=1 steps/04-dataset.sh
  assert_broken G-ENVIRONMENT 4
  in_runbook PYTHONOPTIMIZE=1 steps/05-train.sh
  assert_broken G-ENVIRONMENT 4
}

@test "G-ENVIRONMENT can be overridden, and what was set is on record" {
  in_runbook DISABLE_COMPILE=1 OVERRIDE=G-ENVIRONMENT steps/01-sanity.sh
  assert_overridden G-ENVIRONMENT
  assert_in_file 'DISABLE_COMPILE=1' .repro/runs/trm_arc2_paper_repro/guards.jsonl
}

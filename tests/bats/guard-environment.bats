#!/usr/bin/env bats
# G-ENVIRONMENT: no variable that changes what is computed is set from outside.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

@test "G-ENVIRONMENT is broken by each such variable, all named at once" {
  try_guard G-ENVIRONMENT PYTHONPATH=/somewhere TORCHDYNAMO_DISABLE=1 NVIDIA_TF32_OVERRIDE=0
  assert_broken G-ENVIRONMENT
  assert_output --partial 'PYTHONPATH=/somewhere TORCHDYNAMO_DISABLE=1 NVIDIA_TF32_OVERRIDE=0'
}

@test "G-ENVIRONMENT is broken by DISABLE_COMPILE even if it is empty, because upstream asks whether it is set" {
  try_guard G-ENVIRONMENT DISABLE_COMPILE=
  assert_broken G-ENVIRONMENT
}

@test "G-ENVIRONMENT can be overridden, and what was set is on record" {
  try_guard G-ENVIRONMENT DISABLE_COMPILE=1 OVERRIDE=G-ENVIRONMENT
  assert_overridden G-ENVIRONMENT
  assert_in_file 'DISABLE_COMPILE=1' .repro/runs/trm_arc2_paper_repro/guards.jsonl
}

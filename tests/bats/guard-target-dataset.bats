#!/usr/bin/env bats
# G-TARGET-DATASET: what is reproduced is what the recipe reproduces.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

@test "G-TARGET-DATASET is broken by another data set" {
  try_guard G-TARGET-DATASET TARGET_DATASET=arc1
  assert_broken G-TARGET-DATASET
  assert_output --partial "TARGET_DATASET is 'arc1', the recipe arc2-paper is for 'arc2'"
}

@test "G-TARGET-DATASET can be overridden" {
  try_guard G-TARGET-DATASET TARGET_DATASET=arc1 OVERRIDE=G-TARGET-DATASET
  assert_overridden G-TARGET-DATASET
}

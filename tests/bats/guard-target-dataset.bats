#!/usr/bin/env bats
# G-TARGET-DATASET: what is reproduced is what the recipe reproduces.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

@test "G-TARGET-DATASET holds for the recipe's own data set" {
  in_runbook steps/01-sanity.sh
  assert_success
  assert_guard G-TARGET-DATASET holds
}

@test "G-TARGET-DATASET is broken by another data set" {
  in_runbook TARGET_DATASET=arc1 steps/01-sanity.sh
  assert_broken G-TARGET-DATASET 3
  assert_output --partial "TARGET_DATASET is 'arc1', the recipe arc2-paper is for 'arc2'"
}

@test "G-TARGET-DATASET can be overridden" {
  in_runbook TARGET_DATASET=arc1 OVERRIDE=G-TARGET-DATASET steps/01-sanity.sh
  assert_overridden G-TARGET-DATASET
}

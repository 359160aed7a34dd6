#!/usr/bin/env bats
# G-KAGGLE-NAMES: the Kaggle title and slug of the run are legal, which is known before training; nothing overrides it.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

@test "G-KAGGLE-NAMES holds for the seed's run name, whose underscores become '-' (D-12)" {
  in_runbook steps/01-sanity.sh
  assert_success
  assert_guard G-KAGGLE-NAMES holds
}

@test "G-KAGGLE-NAMES is broken by a name that makes the title too long" {
  in_runbook RUN_NAME=trm_arc2_paper_repro_number_2 steps/01-sanity.sh
  assert_broken G-KAGGLE-NAMES 3
  assert_output --partial 'RUN_NAME must have at most 26'
}

@test "G-KAGGLE-NAMES is broken by a slug that Kaggle refuses" {
  in_runbook KAGGLE_DATASET_SLUG='tiny!weights' steps/01-sanity.sh
  assert_broken G-KAGGLE-NAMES 3
  in_runbook KAGGLE_DATASET_SLUG=trm steps/01-sanity.sh
  assert_broken G-KAGGLE-NAMES 3
}

@test "G-KAGGLE-NAMES cannot be overridden" {
  in_runbook KAGGLE_DATASET_SLUG=trm OVERRIDE=G-KAGGLE-NAMES steps/01-sanity.sh
  assert_broken G-KAGGLE-NAMES 3
}

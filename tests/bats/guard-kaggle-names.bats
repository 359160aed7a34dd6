#!/usr/bin/env bats
# G-KAGGLE-NAMES: the Kaggle title and slug of the run are legal, which is known before training; nothing overrides it.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

@test "G-KAGGLE-NAMES holds for the seed's run name, whose underscores become '-' (D-12)" {
  try_guard G-KAGGLE-NAMES
  assert_holds G-KAGGLE-NAMES
}

@test "G-KAGGLE-NAMES is broken by a name that makes the title too long" {
  try_guard G-KAGGLE-NAMES RUN_NAME=trm_arc2_paper_repro_number_2
  assert_broken G-KAGGLE-NAMES
  assert_output --partial 'RUN_NAME must have at most 26'
}

@test "G-KAGGLE-NAMES is broken by a slug that Kaggle refuses" {
  try_guard G-KAGGLE-NAMES KAGGLE_DATASET_SLUG='tiny!weights'
  assert_broken G-KAGGLE-NAMES
  try_guard G-KAGGLE-NAMES KAGGLE_DATASET_SLUG=trm
  assert_broken G-KAGGLE-NAMES
}

@test "G-KAGGLE-NAMES cannot be overridden" {
  try_guard G-KAGGLE-NAMES KAGGLE_DATASET_SLUG=trm OVERRIDE=G-KAGGLE-NAMES
  assert_broken G-KAGGLE-NAMES
}

#!/usr/bin/env bats
# G-NO-ARC1: no ARC-AGI-1 task enters an ARC-AGI-2 run.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

@test "G-NO-ARC1 is broken by a subset of ARC-AGI-1, whether added or in the recipe" {
  local subset
  for subset in training evaluation; do
    try_guard G-NO-ARC1 EXTRA_BUILDER_ARGS="--subsets $subset"
    assert_broken G-NO-ARC1
    assert_output --partial "'$subset' would bring ARC-AGI-1 into an ARC-AGI-2 run"
  done
  sed -i 's/- training2$/- training/' recipes/base/samsung-arc2.yaml
  try_guard G-NO-ARC1 G-BUILDER-COMMAND
  assert_broken G-NO-ARC1
  assert_guard G-BUILDER-COMMAND holds
}

@test "G-NO-ARC1 is broken by a data path of ARC-AGI-1, however it is given" {
  local word
  for word in 'data_paths=[data/arc1concept-aug-1000]' '++data_paths=[data/arc1concept-aug-1000]' \
    'data_paths_test=[data/arc1concept-aug-1000]'; do
    try_guard G-NO-ARC1 EXTRA_TRAIN_ARGS="$word"
    assert_broken G-NO-ARC1
    assert_output --partial "'$word' would bring"
  done
}

@test "G-NO-ARC1 can be overridden" {
  try_guard G-NO-ARC1 EXTRA_BUILDER_ARGS='--subsets training' OVERRIDE='G-NO-ARC1 G-BUILDER-COMMAND'
  assert_overridden G-NO-ARC1
}

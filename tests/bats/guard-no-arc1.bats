#!/usr/bin/env bats
# G-NO-ARC1: no ARC-AGI-1 task enters an ARC-AGI-2 run.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

@test "G-NO-ARC1 holds for the recipe's commands" {
  in_runbook steps/01-sanity.sh
  assert_success
  assert_guard G-NO-ARC1 holds
}

@test "G-NO-ARC1 is broken by a subset of ARC-AGI-1, whether added or in the recipe" {
  local subset
  for subset in training evaluation; do
    in_runbook EXTRA_BUILDER_ARGS="--subsets $subset" steps/01-sanity.sh
    assert_broken G-NO-ARC1 3
    assert_output --partial "'$subset' would bring ARC-AGI-1 into an ARC-AGI-2 run"
  done
  sed -i 's/- training2$/- training/' recipes/base/samsung-arc2.yaml
  in_runbook steps/01-sanity.sh
  assert_broken G-NO-ARC1 3
  assert_guard G-BUILDER-COMMAND holds
}

@test "G-NO-ARC1 is broken by a data path of ARC-AGI-1, however it is given" {
  local word
  for word in 'data_paths=[data/arc1concept-aug-1000]' '++data_paths=[data/arc1concept-aug-1000]' \
    'data_paths_test=[data/arc1concept-aug-1000]'; do
    in_runbook EXTRA_TRAIN_ARGS="$word" steps/01-sanity.sh
    assert_broken G-NO-ARC1 3
    assert_output --partial "'$word' would bring"
  done
}

@test "G-NO-ARC1 can be overridden" {
  in_runbook EXTRA_BUILDER_ARGS='--subsets training' OVERRIDE='G-NO-ARC1 G-BUILDER-COMMAND' steps/01-sanity.sh
  assert_overridden G-NO-ARC1
}

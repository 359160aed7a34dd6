#!/usr/bin/env bats
# G-UPSTREAM-PIN: upstream is at the recipe's commit.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR" && clone_upstream; }

@test "G-UPSTREAM-PIN is broken by a later commit, which is not reset" {
  git -C "$UPSTREAM" checkout --quiet main
  try_guard G-UPSTREAM-PIN
  assert_broken G-UPSTREAM-PIN
  assert_output --partial "the pin is $STANDIN_COMMIT"
  assert_equal "$(git -C "$UPSTREAM" rev-parse --abbrev-ref HEAD)" main
}

@test "G-UPSTREAM-PIN is broken by a clone of something else" {
  rm -rf "$UPSTREAM" && git clone --quiet "$RUNBOOK" "$UPSTREAM"
  try_guard G-UPSTREAM-PIN
  assert_broken G-UPSTREAM-PIN
}

@test "G-UPSTREAM-PIN is looked at again when the training has ended" {
  rm -r "$UPSTREAM" && built
  answer 'real_torchrun "$@" && git checkout --quiet main' 'torchrun *'
  in_runbook steps/05-train.sh
  assert_broken G-UPSTREAM-PIN
  refute_file .repro/runs/trm_arc2_paper_repro/05-train.stamp
}

@test "G-UPSTREAM-PIN is broken by another tree under the pin's name" {
  git -C "$UPSTREAM" replace "$STANDIN_COMMIT" main
  try_guard G-UPSTREAM-PIN
  assert_holds G-UPSTREAM-PIN
  sed -i "s/$STANDIN_TREE/$STANDIN_COMMIT/" recipes/base/samsung.yaml
  try_guard G-UPSTREAM-PIN
  assert_broken G-UPSTREAM-PIN
}

@test "G-UPSTREAM-PIN can be overridden" {
  git -C "$UPSTREAM" checkout --quiet main
  try_guard G-UPSTREAM-PIN OVERRIDE=G-TOOLS,G-UPSTREAM-PIN
  assert_overridden G-UPSTREAM-PIN
}

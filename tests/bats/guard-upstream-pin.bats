#!/usr/bin/env bats
# G-UPSTREAM-PIN: upstream is at the recipe's commit.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR" && clone_upstream; }

@test "G-UPSTREAM-PIN holds at the pin" {
  in_runbook steps/02-clone.sh
  assert_success
  assert_guard G-UPSTREAM-PIN holds
}

@test "G-UPSTREAM-PIN is broken by a later commit, which is not reset" {
  git -C "$UPSTREAM" checkout --quiet main
  in_runbook steps/02-clone.sh
  assert_broken G-UPSTREAM-PIN 4
  assert_output --partial "the pin is $STANDIN_COMMIT"
  assert_equal "$(git -C "$UPSTREAM" rev-parse --abbrev-ref HEAD)" main
}

@test "G-UPSTREAM-PIN is broken by a clone of something else" {
  rm -rf "$UPSTREAM" && git clone --quiet "$RUNBOOK" "$UPSTREAM"
  in_runbook steps/02-clone.sh
  assert_broken G-UPSTREAM-PIN 4
}

@test "G-UPSTREAM-PIN is looked at again before the dataset is built and before the training" {
  git -C "$UPSTREAM" checkout --quiet main
  in_runbook steps/04-dataset.sh
  assert_broken G-UPSTREAM-PIN 4
  in_runbook steps/05-train.sh
  assert_broken G-UPSTREAM-PIN 4
  refute_file "$UPSTREAM/data"
  refute_file "$UPSTREAM/checkpoints"
}

@test "G-UPSTREAM-PIN is looked at again when the training has ended" {
  rm -r "$UPSTREAM" && built
  answer 'real_torchrun "$@" && git checkout --quiet main' 'torchrun *'
  in_runbook steps/05-train.sh
  assert_broken G-UPSTREAM-PIN 4
  refute_file .repro/runs/trm_arc2_paper_repro/05-train.stamp
}

@test "G-UPSTREAM-PIN is broken by another tree under the pin's name" {
  git -C "$UPSTREAM" replace "$STANDIN_COMMIT" main
  in_runbook steps/02-clone.sh
  assert_success
  sed -i "s/$STANDIN_TREE/$STANDIN_COMMIT/" recipes/base/samsung.yaml
  in_runbook steps/02-clone.sh
  assert_broken G-UPSTREAM-PIN 4
}

@test "G-UPSTREAM-PIN can be overridden" {
  git -C "$UPSTREAM" checkout --quiet main
  in_runbook OVERRIDE='G-UPSTREAM-PIN,G-UPSTREAM-UNMODIFIED' steps/02-clone.sh
  assert_overridden G-UPSTREAM-PIN
}

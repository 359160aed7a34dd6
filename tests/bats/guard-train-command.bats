#!/usr/bin/env bats
# G-TRAIN-COMMAND: the training command is the recipe's, token by token.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

@test "G-TRAIN-COMMAND holds for the recipe's command" {
  in_runbook steps/01-sanity.sh
  assert_success
  assert_guard G-TRAIN-COMMAND holds
}

@test "G-TRAIN-COMMAND is broken by an added word" {
  in_runbook EXTRA_TRAIN_ARGS='global_batch_size=384 lr=1e-3' steps/01-sanity.sh
  assert_broken G-TRAIN-COMMAND 3
  assert_output --partial 'added: global_batch_size=384; added: lr=1e-3'
}

@test "G-TRAIN-COMMAND is broken by a word repeated" {
  in_runbook EXTRA_TRAIN_ARGS='ema=True' steps/01-sanity.sh
  assert_broken G-TRAIN-COMMAND 3
  assert_output --partial 'order or repetition differs'
}

@test "G-TRAIN-COMMAND is looked at again before training" {
  clone_upstream
  in_runbook EXTRA_TRAIN_ARGS=seed=1 steps/05-train.sh
  assert_broken G-TRAIN-COMMAND 4
  refute_file "$UPSTREAM/checkpoints"
}

@test "G-TRAIN-COMMAND can be overridden" {
  in_runbook EXTRA_TRAIN_ARGS=seed=1 OVERRIDE=G-TRAIN-COMMAND steps/01-sanity.sh
  assert_overridden G-TRAIN-COMMAND
}

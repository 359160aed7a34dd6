#!/usr/bin/env bats
# G-TRAIN-COMMAND: the training command is the recipe's, token by token.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

@test "G-TRAIN-COMMAND is broken by an added word" {
  try_guard G-TRAIN-COMMAND EXTRA_TRAIN_ARGS='global_batch_size=384 lr=1e-3'
  assert_broken G-TRAIN-COMMAND
  assert_output --partial 'added: global_batch_size=384; added: lr=1e-3'
}

@test "G-TRAIN-COMMAND is broken by a word repeated" {
  try_guard G-TRAIN-COMMAND EXTRA_TRAIN_ARGS='ema=True'
  assert_broken G-TRAIN-COMMAND
  assert_output --partial 'order or repetition differs'
}

@test "G-TRAIN-COMMAND can be overridden" {
  try_guard G-TRAIN-COMMAND EXTRA_TRAIN_ARGS=seed=1 OVERRIDE=G-TRAIN-COMMAND
  assert_overridden G-TRAIN-COMMAND
}

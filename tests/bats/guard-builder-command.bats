#!/usr/bin/env bats
# G-BUILDER-COMMAND: the builder's command is the recipe's, token by token.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

@test "G-BUILDER-COMMAND is broken by an added word" {
  try_guard G-BUILDER-COMMAND EXTRA_BUILDER_ARGS='--num-aug 10'
  assert_broken G-BUILDER-COMMAND
  assert_output --partial 'added: --num-aug; added: 10'
}

@test "G-BUILDER-COMMAND can be overridden" {
  try_guard G-BUILDER-COMMAND EXTRA_BUILDER_ARGS='--num-aug 10' OVERRIDE=G-BUILDER-COMMAND
  assert_overridden G-BUILDER-COMMAND
}

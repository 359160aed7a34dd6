#!/usr/bin/env bats
# G-BUILDER-COMMAND: the builder's command is the recipe's, token by token.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

@test "G-BUILDER-COMMAND holds for the recipe's command" {
  in_runbook steps/01-sanity.sh
  assert_success
  assert_guard G-BUILDER-COMMAND holds
}

@test "G-BUILDER-COMMAND is broken by an added word" {
  in_runbook EXTRA_BUILDER_ARGS='--num-aug 10' steps/01-sanity.sh
  assert_broken G-BUILDER-COMMAND 3
  assert_output --partial 'added: --num-aug; added: 10'
}

@test "G-BUILDER-COMMAND is looked at again before building" {
  clone_upstream
  in_runbook EXTRA_BUILDER_ARGS='--seed 1' steps/04-dataset.sh
  assert_broken G-BUILDER-COMMAND 4
  refute_file "$UPSTREAM/data"
}

@test "G-BUILDER-COMMAND can be overridden" {
  in_runbook EXTRA_BUILDER_ARGS='--num-aug 10' OVERRIDE=G-BUILDER-COMMAND steps/01-sanity.sh
  assert_overridden G-BUILDER-COMMAND
}

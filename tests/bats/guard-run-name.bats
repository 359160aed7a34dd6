#!/usr/bin/env bats
# G-RUN-NAME: RUN_NAME is short enough as a file name; nothing overrides it. (One that is no file name: guards.bats.)

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

@test "G-RUN-NAME is broken by a name of more than 100 characters" {
  try_guard G-RUN-NAME RUN_NAME="$(printf 'a%.0s' {1..101})"
  assert_broken G-RUN-NAME
}

@test "G-RUN-NAME cannot be overridden" {
  try_guard G-RUN-NAME RUN_NAME="$(printf 'a%.0s' {1..101})" OVERRIDE=G-RUN-NAME
  assert_broken G-RUN-NAME
}

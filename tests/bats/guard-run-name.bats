#!/usr/bin/env bats
# G-RUN-NAME: RUN_NAME is safe and short enough as a file name; nothing overrides it.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

@test "G-RUN-NAME holds for the seed's name" {
  in_runbook steps/01-sanity.sh
  assert_success
  assert_guard G-RUN-NAME holds
}

@test "G-RUN-NAME is broken by a name that is no file name, in every step, before anything is written" {
  local name step
  for name in ../elsewhere 'two words' -dash '$(date)' .hidden; do
    in_runbook RUN_NAME="$name" steps/01-sanity.sh
    assert_failure 4
    assert_output --partial "G-RUN-NAME: '$name' is not safe as a file name"
  done
  for step in steps/*.sh; do
    in_runbook RUN_NAME=a/b "$step"
    assert_failure 4
  done
  refute_file .repro
}

@test "G-RUN-NAME is broken by a name of more than 100 characters" {
  in_runbook RUN_NAME="$(printf 'a%.0s' {1..101})" steps/01-sanity.sh
  assert_broken G-RUN-NAME 3
}

@test "G-RUN-NAME cannot be overridden" {
  in_runbook RUN_NAME="$(printf 'a%.0s' {1..101})" OVERRIDE='G-RUN-NAME G-KAGGLE-NAMES' steps/01-sanity.sh
  assert_broken G-RUN-NAME 3
  in_runbook RUN_NAME=a/b OVERRIDE=G-RUN-NAME steps/01-sanity.sh
  assert_failure 4
}

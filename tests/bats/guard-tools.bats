#!/usr/bin/env bats
# G-TOOLS: the programs that every run needs are there and run; nothing overrides it.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

@test "G-TOOLS is broken where some are missing, and names them" {
  without make sha256sum
  try_guard G-TOOLS
  assert_broken G-TOOLS
  assert_output --partial 'missing: make sha256sum'
}

@test "G-TOOLS is broken by a tool that is found and fails" {
  answer 'echo "xcode-select: note: no developer tools were found" >&2; exit 1' 'git *'
  try_guard G-TOOLS
  assert_broken G-TOOLS
  assert_output --partial 'missing: git'
}

@test "G-TOOLS is broken without flock, which the step itself uses" {
  without flock
  in_runbook steps/01-sanity.sh
  assert_failure 3
  assert_output --partial flock
  refute_output 'works on this run'
}

@test "G-TOOLS cannot be overridden" {
  without make
  try_guard G-TOOLS OVERRIDE=G-TOOLS
  assert_broken G-TOOLS
}

#!/usr/bin/env bats
# No test lasts longer than its limit, whatever hangs, and nothing is left of it.

load helper

# bats test_tags=deep
@test "a loop, a deaf process and an orphan that holds the output end at the limit, and are called failed" {
  run env -i PATH="$PATH" BATS_TEST_TIMEOUT=1 "$REPO/.venv/bin/bats" \
    --setup-suite-file "$REPO/tests/bats/setup_suite.bash" "$REPO/tests/bats/hang/hang.bats"
  assert_failure 1
  assert_equal "$(grep -c '^not ok .* # timeout after 1s' <<<"$output")" 3
}

@test "signals that the caller ignores reach what a test starts" {
  make_runbook "$BATS_TEST_TMPDIR"
  trap '' INT TERM HUP
  in_background bash -c 'touch "$STUBS/started"; while :; do sleep 0.1; done'
  wait_for "$STUBS/started"
  kill -INT -- "-$BACKGROUND"
  ended
  assert_failure 130
}

# Tests that never end, for limit.bats; `bats tests/bats` does not look here.
load ../helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }
@test "a loop" { while :; do :; done; }
@test "a wait for a process that is deaf" {
  in_background bash -c 'trap "" INT TERM; touch "$STUBS/deaf"; sleep 1000; sleep 1000'
  wait_for "$STUBS/deaf"
  kill -INT -- "-$BACKGROUND"
  ended
}
@test "a command whose orphan, deaf, holds the output" {
  in_runbook bash -c 'trap "" TERM; (sleep 1000; sleep 1000) & exit 0'
}

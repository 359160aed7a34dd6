#!/usr/bin/env bats
# G-PROCESSES: the batch of 768 can be split evenly among the processes.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

@test "G-PROCESSES holds where 5 GPUs are there and 4 are used" {
  gpus 5
  in_runbook steps/01-sanity.sh
  assert_success
  assert_guard G-PROCESSES holds
}

@test "G-PROCESSES is broken by 5 processes and by 7" {
  local count
  for count in 5 7; do
    gpus "$count"
    in_runbook MAX_GPUS_TO_USE=8 steps/01-sanity.sh
    assert_broken G-PROCESSES 3
    assert_output --partial "$count processes cannot share a batch of 768 evenly"
  done
}

@test "a MAX_GPUS_TO_USE that is no positive number is refused by every step" {
  local count
  for count in 0 -1 four 'a[$(touch here)]'; do
    in_runbook MAX_GPUS_TO_USE="$count" steps/01-sanity.sh
    assert_failure 2
    assert_output --partial "MAX_GPUS_TO_USE is '$count'"
  done
  refute_file here
}

@test "G-PROCESSES can be overridden" {
  gpus 5
  in_runbook MAX_GPUS_TO_USE=8 OVERRIDE=G-PROCESSES steps/01-sanity.sh
  assert_overridden G-PROCESSES
}

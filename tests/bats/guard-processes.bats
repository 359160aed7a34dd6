#!/usr/bin/env bats
# G-PROCESSES: the batch of 768 can be split evenly among the processes.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

@test "G-PROCESSES holds where 5 GPUs are there and 4 are used" {
  gpus 5
  try_guard G-PROCESSES
  assert_holds G-PROCESSES
}

@test "G-PROCESSES is broken by 5 processes and by 7" {
  local count
  for count in 5 7; do
    gpus "$count"
    try_guard G-PROCESSES MAX_GPUS_TO_USE=8
    assert_broken G-PROCESSES
    assert_output --partial "$count processes cannot share a batch of 768 evenly"
  done
}

@test "G-PROCESSES can be overridden" {
  gpus 5
  try_guard G-PROCESSES MAX_GPUS_TO_USE=8 OVERRIDE=G-PROCESSES
  assert_overridden G-PROCESSES
}

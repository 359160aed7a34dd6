#!/usr/bin/env bats
# G-GPUS: an engine that needs a GPU has one; nothing overrides it.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

@test "G-GPUS holds with 1, 2, 4 and 8 GPUs" {
  local count
  for count in 1 2 4 8; do
    gpus "$count"
    try_guard G-GPUS G-MACHINE
    assert_holds G-GPUS
    assert_output --partial "GPUs: $count × NVIDIA"
  done
}

@test "G-GPUS is broken on a machine without nvidia-smi (D-07)" {
  gpus none
  try_guard G-GPUS G-MACHINE
  assert_broken G-GPUS
  assert_output --partial 'GPUs: none'
  assert_output --partial 'make rehearse'
}

@test "G-GPUS is broken where nvidia-smi lists none" {
  gpus 0
  try_guard G-GPUS
  assert_broken G-GPUS
}

@test "G-GPUS is broken where nvidia-smi is found and fails" {
  answer 'echo "NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver."; exit 9' 'nvidia-smi*'
  try_guard G-GPUS G-MACHINE
  assert_broken G-GPUS
  assert_output --partial 'GPUs: none'
}

@test "G-GPUS cannot be overridden" {
  gpus none
  try_guard G-GPUS OVERRIDE=G-GPUS
  assert_broken G-GPUS
}

@test "G-GPUS does not concern a recipe that trains on a CPU" {
  gpus none
  try_guard G-GPUS RECIPE=arc2-rehearsal
  assert_holds G-GPUS
}

#!/usr/bin/env bats
# G-GPUS: an engine that needs a GPU has one; nothing overrides it.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

# bats test_tags=deep
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
  answer 'echo "Failed to initialize NVML: Driver/library version mismatch"; exit 18' 'nvidia-smi*'
  try_guard G-GPUS G-MACHINE
  assert_broken G-GPUS
  assert_output --partial 'no GPU that can be used: 0 usable; nvidia-smi says: Failed to initialize NVML: Driver/'
  assert_output --partial 'hint: the driver was upgraded while in use: reboot'
}

@test "G-GPUS is broken where CUDA_VISIBLE_DEVICES leaves none, and counts those that it leaves" {
  try_guard G-GPUS CUDA_VISIBLE_DEVICES=7
  assert_broken G-GPUS
  assert_output --partial "none of 4, by CUDA_VISIBLE_DEVICES='7'"
  try_guard G-GPUS G-MACHINE CUDA_VISIBLE_DEVICES=1,GPU-none,3
  assert_output --partial 'GPUs: 1 of 4'
  try_guard G-GPUS G-MACHINE CUDA_VISIBLE_DEVICES=1,3
  assert_output --partial 'GPUs: 2 × NVIDIA'
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

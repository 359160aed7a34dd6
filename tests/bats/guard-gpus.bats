#!/usr/bin/env bats
# G-GPUS: an engine that needs a GPU has one; nothing overrides it.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

@test "G-GPUS holds with 1, 2, 4 and 8 GPUs" {
  local count
  for count in 1 2 4 8; do
    gpus "$count"
    in_runbook steps/01-sanity.sh --force
    assert_success
    assert_output --partial "GPUs: $count × NVIDIA"
    assert_guard G-GPUS holds
  done
}

@test "G-GPUS is broken on a machine without nvidia-smi (D-07)" {
  gpus none
  in_runbook steps/01-sanity.sh
  assert_broken G-GPUS 3
  assert_output --partial 'GPUs: none'
  assert_output --partial 'make rehearse'
}

@test "G-GPUS is broken where nvidia-smi lists none" {
  gpus 0
  in_runbook steps/01-sanity.sh
  assert_broken G-GPUS 3
}

@test "G-GPUS is broken where nvidia-smi is found and fails" {
  answer 'echo "NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver."; exit 9' 'nvidia-smi*'
  in_runbook steps/01-sanity.sh
  assert_broken G-GPUS 3
  assert_output --partial 'GPUs: none'
}

@test "G-GPUS cannot be overridden" {
  gpus none
  in_runbook OVERRIDE=G-GPUS steps/01-sanity.sh
  assert_broken G-GPUS 3
}

@test "G-GPUS does not concern a recipe that trains on a CPU" {
  gpus none
  in_runbook RECIPE=arc2-rehearsal steps/01-sanity.sh
  assert_success
}

#!/usr/bin/env bats
# G-MACHINE: the machine has what the run cannot do without.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

@test "G-MACHINE is broken by too little of several things, all named at once with what is needed and why (D-31)" {
  memory 16
  disk 20
  rm "$STUBS/bin/c++"
  try_guard G-MACHINE
  assert_broken G-MACHINE
  assert_output --partial 'falls short of what the run needs: C++ compiler, memory, disk'
  assert_output --partial 'memory: 16.0 GB, needed 23.9 GB (upstream'
  assert_output --partial 'disk: 20.0 GB free, needed'
}

@test "G-MACHINE is broken by GPUs that are too old or too small" {
  answer "echo 'Tesla V100-SXM2-16GB, 16384, 580.65.06, 7.0, 0'" 'nvidia-smi --query-gpu=*'
  try_guard G-MACHINE
  assert_broken G-MACHINE
  assert_output --partial 'falls short of what the run needs: GPU generation, GPU memory'
}

@test "G-MACHINE is broken by a driver that no lock fits" {
  answer "echo 'NVIDIA H100 80GB HBM3, 81559, 470.82.01, 9.0, 0'" 'nvidia-smi --query-gpu=*'
  try_guard G-MACHINE
  assert_broken G-MACHINE
  assert_output --partial 'problem  CUDA:'
}

@test "G-MACHINE can be overridden" {
  memory 16
  try_guard G-MACHINE OVERRIDE=G-MACHINE
  assert_overridden G-MACHINE
}

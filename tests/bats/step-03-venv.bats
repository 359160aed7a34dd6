#!/usr/bin/env bats
# Step 3: the environment is the lock that the driver chooses, adam-atan2 comes after torch, and everything is tried.

load helper
setup() {
  make_runbook "$BATS_TEST_TMPDIR"
  clone_upstream
  training_environment
  VENV=$UPSTREAM/.venv CU13=$UPSTREAM/.venv/lib/python3.10/site-packages/nvidia/cu13
  # a venv whose CUDA folder is there, as the lock's packages leave it
  answer "make_venv \"\$3\" && mkdir -p '$CU13/lib'" 'python3.10 -m venv *'
  driver 580.65.06 H100 9.0
  LOCKED=(pip install --require-hashes --no-deps -r locks/cu130.txt)
  ADAM=(pip install --require-hashes --no-deps --no-build-isolation --no-cache-dir --force-reinstall
    -r locks/adam-atan2.txt)
}
driver() { answer "printf 'NVIDIA $2, 81559, $1, $3, 4\n%.0s' 1 2 3 4" 'nvidia-smi --query-gpu=*'; }
refute_called() { ! grep -q -- "$1" "$STUBS/calls" || fail "not expected to be called: $1"; }
nvcc_is() {
  mkdir -p "$BATS_TEST_TMPDIR/cuda/bin"
  printf '#!/bin/sh\necho "Cuda compilation tools, release %s, V%s.20"\n' "$1" "$1" >"$BATS_TEST_TMPDIR/cuda/bin/nvcc"
  chmod +x "$BATS_TEST_TMPDIR/cuda/bin/nvcc"
}

@test "step 3 installs the lock by digest, adam-atan2 after it, tries it all, writes it down (D-04, D-29, D-30)" {
  plan 'make_venv "$3" && mkdir -p '"'$CU13/lib'" python3.10 -m venv "$VENV"
  plan 'pip_install_lock "$@"' "${LOCKED[@]}"
  plan 'echo "$CUDA_HOME $TORCH_CUDA_ARCH_LIST [$NVCC_APPEND_FLAGS]" >"$STUBS/built"; pip_install_lock "$@"' \
    "${ADAM[@]}"
  plan : pip install --no-deps --no-index -r "$UPSTREAM/requirements.txt"
  in_runbook steps/03-venv.sh
  assert_success
  assert_plan_done
  assert_equal "$(<"$STUBS/built")" "$CU13 9.0 []"
  assert_equal "$(readlink "$CU13/lib64") $(readlink "$CU13/lib/libcudart.so")" 'lib libcudart.so.13'
  assert_output --partial 'driver 580.65.06, and cu130 needs 580'
  grep -q '^python -c import\\ torch.*adam_atan2_backend' "$STUBS/calls"
  grep -q '^python -c import\\ torch.*device_count.*4' "$STUBS/calls"

  # the seed's listing, with the digests of its locks (D-29)
  local listing=.repro/env_arc2_trm_arc2_paper_repro.txt
  assert_in_file 'Python 3.10.13' "$listing"
  assert_in_file 'torch: 2.11.0' "$listing"
  assert_in_file 'cuda_available: True' "$listing"
  assert_in_file 'lock: locks' "$listing"
  assert_in_file "$(sha256sum locks/cu130.txt)" "$listing"
  assert_in_file '"distributions": [' "${listing%.txt}.json"

  # fresh the second time, and not when a lock has changed
  in_runbook steps/03-venv.sh
  assert_output '03-venv: fresh'
  echo '# another' >>locks/cu130.txt
  in_runbook bash -c 'source lib/prelude.bash && repro step begin 03-venv'
  assert_success
  assert_output --partial 'outputs changed: different: locks/cu130.txt'
}

@test "step 3 takes cu126 for an older driver, with the machine's nvcc 12" {
  driver 550.90 H100 9.0
  nvcc_is 12.6
  plan 'make_venv "$3"' python3.10 -m venv "$VENV"
  plan 'pip_install_lock "$@"' pip install --require-hashes --no-deps -r locks/cu126.txt
  plan 'echo "$CUDA_HOME" >"$STUBS/built"; pip_install_lock "$@"' "${ADAM[@]}"
  in_runbook CUDA_HOME="$BATS_TEST_TMPDIR/cuda" steps/03-venv.sh
  assert_success
  assert_plan_done
  assert_equal "$(<"$STUBS/built")" "$BATS_TEST_TMPDIR/cuda"
  refute_file "$CU13/lib64"
}

@test "step 3 stops where cu126 has no nvcc 12, and says how to get on" {
  driver 550.90 H100 9.0
  nvcc_is 11.8
  in_runbook CUDA_HOME="$BATS_TEST_TMPDIR/cuda" steps/03-venv.sh
  assert_failure 3
  assert_output --partial 'found: 11.8'
  assert_output --partial 'CUDA 12.6 toolkit'
  refute_called '^pip install'
}

@test "CUDA_LOCK overrides the driver" {
  driver 550.90 H100 9.0
  in_runbook CUDA_LOCK=cu130 steps/03-venv.sh
  assert_success
  assert_output --partial 'CUDA_LOCK says so'
  in_runbook CUDA_LOCK=cu131 steps/03-venv.sh
  assert_failure 2
  assert_output --partial "CUDA_LOCK is 'cu131': use auto or cu126 or cu130"
}

@test "step 3 compiles for GPUs that adam-atan2 does not know" {
  driver 580.65 B200 10.0
  plan 'make_venv "$3" && mkdir -p '"'$CU13/lib'" python3.10 -m venv "$VENV"
  plan 'pip_install_lock "$@"' "${LOCKED[@]}"
  plan 'echo "$NVCC_APPEND_FLAGS" >"$STUBS/built"; pip_install_lock "$@"' "${ADAM[@]}"
  in_runbook steps/03-venv.sh
  assert_success
  assert_equal "$(<"$STUBS/built")" '-gencode=arch=compute_100,code=sm_100'
}

@test "step 3 fails where a digest differs, and nothing after it runs" {
  answer 'echo "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES" >&2; exit 1' \
    'pip install --require-hashes --no-deps -r locks/cu130.txt'
  in_runbook steps/03-venv.sh
  assert_failure 5
  assert_output --partial 'the locked packages could not be installed'
  refute_file .repro/env_arc2_trm_arc2_paper_repro.txt
  refute_called 'adam-atan2.txt'
}

@test "step 3 fails where adam-atan2 cannot be compiled" {
  answer 'exit 1' 'pip install *adam-atan2.txt'
  in_runbook steps/03-venv.sh
  assert_failure 5
  assert_output --partial 'adam-atan2 could not be built'
}

@test "step 3 fails where the lock does not satisfy upstream's requirements" {
  answer 'exit 1' 'pip install --no-deps --no-index -r *'
  in_runbook steps/03-venv.sh
  assert_failure 5
  assert_output --partial "does not satisfy upstream's requirements.txt"
}

@test "step 3 fails where the environment holds more than the lock, or another version" {
  printf '%s\n' torch==2.11.0 evil==1.0 >"$STUBS/lock"
  answer 'pip_install_lock "$STUBS/lock"' 'pip install --require-hashes --no-deps -r locks/cu130.txt'
  in_runbook steps/03-venv.sh
  assert_failure 4
  assert_output --partial 'evil is extra'
  assert_output --partial 'numpy is missing'
}

@test "step 3 fails where something that upstream imports cannot be imported" {
  answer 'echo "ModuleNotFoundError: No module named adam_atan2_backend" >&2; exit 1' 'python -c import torch, *'
  in_runbook steps/03-venv.sh
  assert_failure 5
  assert_output --partial 'not all that upstream imports can be imported'
}

@test "step 3 fails where torch sees fewer GPUs than will be used" {
  answer 'echo "AssertionError: torch sees 0 GPUs" >&2; exit 1' 'python -c import torch; found*'
  in_runbook steps/03-venv.sh
  assert_failure 5
  assert_output --partial 'torch does not see the GPUs'
}

@test "ENV_LOCK=none keeps the seed's commands, and says so in the listing" {
  in_runbook ENV_LOCK=none steps/03-venv.sh
  assert_success
  refute_called 'require-hashes'
  grep -q '^pip install --pre --upgrade torch' "$STUBS/calls"
  assert_in_file 'lock: none' .repro/env_arc2_trm_arc2_paper_repro.txt
  in_runbook ENV_LOCK=some steps/03-venv.sh
  assert_failure 2
  assert_output --partial "ENV_LOCK is 'some': use locks or none"
}

@test "ENV_LOCK=none is refused where the seed's commands would not make the environment" {
  mkdir -p upstream/NVARC/TRM && git init --quiet upstream/NVARC
  in_runbook RECIPE=nvarc-pretrain ENV_LOCK=none steps/03-venv.sh
  assert_failure 2
  assert_output --partial \
    'ENV_LOCK=none: without a lock, no commands are known that make the environment of nvarc-pretrain'
  refute_called 'pip install'
}

@test "USE_VENV=0 makes no venv, and does not mind what else is installed" {
  make_venv "$BATS_TEST_TMPDIR/user"
  local site=$BATS_TEST_TMPDIR/site
  mkdir -p "$site/nvidia/cu13/lib"
  answer "echo '$site'" 'python -c import sysconfig*'
  answer "echo '$BATS_TEST_TMPDIR/user'" 'python -I -S -c *'
  in_runbook USE_VENV=0 PATH="$BATS_TEST_TMPDIR/user/bin:$STUBS/bin:$BIN" steps/03-venv.sh
  assert_success
  refute_called 'm venv'
  assert_equal "$(readlink "$site/nvidia/cu13/lib64")" lib
}

@test "step 3 in a dry run shows its commands and leaves no trace" {
  in_runbook steps/03-venv.sh --dry-run
  assert_success
  assert_output --partial '-> pip install --require-hashes --no-deps -r locks/cu130.txt'
  refute_file .repro
  refute_called '^pip'
}

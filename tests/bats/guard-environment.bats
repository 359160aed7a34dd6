#!/usr/bin/env bats
# G-ENVIRONMENT: no variable that changes what is computed is set from outside.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

@test "G-ENVIRONMENT is broken by each such variable, all named at once" {
  try_guard G-ENVIRONMENT PYTHONPATH=/somewhere TORCHDYNAMO_DISABLE=1 NVIDIA_TF32_OVERRIDE=0
  assert_broken G-ENVIRONMENT
  assert_output --partial 'PYTHONPATH=/somewhere TORCHDYNAMO_DISABLE=1 NVIDIA_TF32_OVERRIDE=0'
}

@test "G-ENVIRONMENT is broken by DISABLE_COMPILE even if it is empty, because upstream asks whether it is set" {
  try_guard G-ENVIRONMENT DISABLE_COMPILE=
  assert_broken G-ENVIRONMENT
}

@test "G-ENVIRONMENT can be overridden, and what was set is on record" {
  try_guard G-ENVIRONMENT DISABLE_COMPILE=1 OVERRIDE=G-ENVIRONMENT
  assert_overridden G-ENVIRONMENT
  assert_in_file 'DISABLE_COMPILE=1' .repro/runs/trm_arc2_paper_repro/guards.jsonl
}

# bats test_tags=deep
@test "what nobody named reaches neither builder nor training; the log says which, the manifest what did" {
  built
  training_environment
  answer 'env -0 >"$STUBS/environment"; real_torchrun "$@"' 'torchrun *'
  answer 'env -0 >"$STUBS/environment-of-builder"; real_python "$@"' 'python -m dataset*'
  local name open=(TORCHINDUCTOR_MAX_AUTOTUNE=1 PET_NNODES=2 RANK=1 LOCAL_RANK=1 MASTER_ADDR=there SLURM_JOB_ID=7
    NCCL_NET_PLUGIN=evil CUDA_INJECTION64_PATH=/evil.so OMP_TOOL_LIBRARIES=/evil.so KAGGLE_KEY=secret-of-kaggle
    HF_TOKEN=hf_secret_token XFORMERS_X=1 BASH_ENV=/dev/null)
  # shellcheck disable=SC2016
  in_runbook "${open[@]}" CUDA_VISIBLE_DEVICES=0,1,2,3 NCCL_SOCKET_IFNAME=eth0 LD_LIBRARY_PATH=/opt/lib USER=ada \
    https_proxy=http://ada:secret-of-proxy@proxy.example:3128 WANDB_API_KEY=secret-of-wandb TMPDIR=/tmp \
    WANDB_BASE_URL=https://ada:secret-in-url@wandb.example \
    bash -c 'ls() { echo function of the user; }; export -f ls; rm -r "$1"; steps/04-dataset.sh && steps/05-train.sh' \
    x "$UPSTREAM/data"
  assert_success
  for name in "${open[@]%%=*}"; do
    grep -q "held back from the command: .*\b$name\b" <<<"$output" || fail "not told: $name"
    run grep -zl "^$name=" "$STUBS/environment" "$STUBS/environment-of-builder"
    assert_equal "$output" ''
    output=$(cat logs/*/05-train.*.log)
  done
  run grep -cz '^BASH_FUNC' "$STUBS/environment-of-builder" "$STUBS/environment"
  assert_output "$STUBS/environment-of-builder:0"$'\n'"$STUBS/environment:0"
  for name in CUDA_VISIBLE_DEVICES=0,1,2,3 NCCL_SOCKET_IFNAME=eth0 LD_LIBRARY_PATH=/opt/lib TMPDIR=/tmp USER=ada \
    https_proxy=http://ada:secret-of-proxy@proxy.example:3128 WANDB_API_KEY=secret-of-wandb WANDB_MODE=online \
    PYTHONHASHSEED=0 PYTHONUNBUFFERED=1; do
    grep -qzx "$name" "$STUBS/environment" || fail "did not reach the training: $name"
  done
  in_runbook WANDB_API_KEY=secret-of-wandb steps/06-verify.sh
  local manifest=artifacts/trm_arc2_paper_repro/manifest.json
  for name in '"CUDA_VISIBLE_DEVICES": "0,1,2,3"' '"LD_LIBRARY_PATH": "/opt/lib"' '"USER": "********"' \
    '"https_proxy": "********"' '"WANDB_API_KEY": "********"' '"WANDB_BASE_URL": "https://********@wandb.example"' \
    '"PATH": '; do
    assert_in_file "$name" "$manifest"
  done
  run grep -rlE 'secret-of|secret-in|hf_secret|"ada"' .repro artifacts logs "$manifest"
  assert_output ''
}

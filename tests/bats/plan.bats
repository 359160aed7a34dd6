#!/usr/bin/env bats
# make plan: every command, how long it takes and what it costs; with --measure from real steps.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

# A training that draws upstream's bar, for ever: about 20 steps a second.
bar() {
  mkdir -p "$1" && touch "$1/all_config.yaml"
  local step
  for ((step = 1; ; step++)); do
    printf '\r  0%%| | %s/722098 [00:01<10:00:00, 20.0it/s]' "$step" >&2
    read -rt 0.05 <> <(:) || true
  done
}

@test "make plan shows every step's commands, hours and cost, and leaves no trace" {
  in_runbook lib/plan.sh
  assert_success
  assert_output --partial "origin $STANDIN_COMMIT"
  assert_output --partial '-> pip install --require-hashes'
  assert_output --partial 'python -m dataset.build_arc_dataset'
  assert_output --partial 'torchrun --nproc-per-node 4'
  assert_output --partial '722,098 by the schedule'
  assert_output --partial 'USD at 2.5 USD a GPU hour'
  assert_output --partial 'not tried'
  refute_file .repro
  refute_file logs
}

# bats test_tags=deep
@test "make plan says that nvidia-smi hangs, and waits for it once" {
  answer 'sleep 600' 'nvidia-smi*'
  in_runbook TRM_REPRO_PATIENCE=4 lib/plan.sh
  assert_success
  assert_output --partial 'nvidia-smi has not answered yet'
  assert_output --partial 'GPUs      nvidia-smi did not answer in 4 s'
  assert_equal "$(grep -c '^nvidia-smi' "$STUBS/calls")" 1
}

@test "make plan takes the price of a GPU hour" {
  in_runbook GPU_HOUR_USD=10 lib/plan.sh
  assert_output --partial 'USD at 10 USD a GPU hour'
}

@test "make plan MEASURE=1 needs the dataset" {
  in_runbook lib/plan.sh --measure
  assert_failure 3
  assert_output --partial 'make step-4'
}

@test "make plan MEASURE=1 times the paper's own command under another name, stops it and removes what it left" {
  built
  local left=$UPSTREAM/checkpoints/Arc2concept-aug-1000-ACT-torch/measure_scratch
  answer "$(declare -f bar | tr '\n' ' '); bar '$left'" 'torchrun *'
  in_runbook lib/plan.sh --measure 1
  assert_success
  assert_output --partial 'ms a step, over'
  assert_output --partial 'the schedule has 722,098'
  assert_output --partial 'published TRM paper: 4 × H100, 72 h'
  assert_output --partial '0.0 GB on the fullest GPU'
  assert_equal "$(grep '^torchrun' "$STUBS/calls")" "torchrun --nproc-per-node 4 --rdzv_backend=c10d \
--rdzv_endpoint=localhost:0 --nnodes=1 pretrain.py arch=trm data_paths=\\[data/arc2concept-aug-1000\\] arch.L_layers=2 \
arch.H_cycles=3 arch.L_cycles=4 +run_name=measure_scratch ema=True"
  refute_file "$left"
}

@test "make plan MEASURE=1 never trains into checkpoints that are there, where a recipe names their folder itself" {
  mkdir -p upstream/NVARC/TRM/arc-prize-trm-training-data upstream/NVARC/TRM/checkpoint
  touch upstream/NVARC/TRM/checkpoint/step_220708
  answer 'pwd >"$STUBS/measured-in"; exit 1' 'torchrun *'
  make_venv upstream/NVARC/.venv
  in_runbook RECIPE=nvarc-pretrain lib/plan.sh --measure 1
  assert_failure 4
  assert_output --partial 'upstream/NVARC/TRM/checkpoint'
  assert_file upstream/NVARC/TRM/checkpoint/step_220708
  refute_file "$STUBS/measured-in"
  mv upstream/NVARC/TRM/checkpoint upstream/NVARC/TRM/kept
  in_runbook RECIPE=nvarc-pretrain lib/plan.sh --measure 1
  assert_failure 5
  assert_equal "$(<"$STUBS/measured-in")" "$RUNBOOK/upstream/NVARC/TRM"
}

@test "make plan MEASURE=1 shows why a training ended by itself" {
  built
  answer 'echo "torch.OutOfMemoryError: CUDA out of memory" >&2; exit 1' 'torchrun *'
  in_runbook lib/plan.sh --measure 1
  assert_failure 5
  assert_output --partial 'ended by itself, code 1'
  assert_output --partial 'CUDA out of memory'
}

# bats test_tags=deep
@test "what computes with other cycles than its weights were trained with warns before anything is spent (D-28)" {
  local warning='warning: D-28: the published weights of alphaXiv'
  in_runbook RECIPE=alphaxiv-eval-maze lib/plan.sh
  assert_equal "$(grep -c "^$warning" <<<"$output")" 2 # before step 1 and before step 5
  assert_output --partial 'were trained with L_cycles 4; this recipe computes with L_cycles 6'
  in_runbook RECIPE=alphaxiv-eval-maze steps/01-sanity.sh
  assert_in_file "$warning" logs/alphaxiv_eval_maze/*01-sanity*.log
  in_runbook steps/01-sanity.sh
  refute_output D-28
}

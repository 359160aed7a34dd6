#!/usr/bin/env bats
# Step 5: the recipe's training command, for every number of GPUs.

setup_file() {
  load helper
  make_runbook "$BATS_FILE_TMPDIR"
  built
  cp "$STUBS/answers" "$BATS_FILE_TMPDIR"
}

setup() {
  load helper
  cd "$RUNBOOK" || return
  UPSTREAM=$RUNBOOK/upstream/TinyRecursiveModels
  cp "$BATS_FILE_TMPDIR/answers" "$STUBS/answers"
  no_plan
  gpus 4
}

# trains_with PROCESSES NAME=VALUE…: step 5 runs exactly the seed's torchrun command with that many processes.
trains_with() {
  seed_words torchrun MAX_GPUS_TO_USE="$1"
  plan 'real_torchrun "$@"' "${SEED[@]}"
  in_runbook STANDIN_STEPS=723914 "${@:2}" steps/05-train.sh --force
  assert_success
  assert_plan_done
  # not by line: unbuffered, a process writes a line and its end apart, and another one's may come between
  assert_equal "$(grep -o "\[Rank [0-9]*, World Size $1\]" <<<"$output" | wc -l)" "$1"
}

# would_train_with PROCESSES NAME=VALUE…: the plan of step 5 is that command.
would_train_with() {
  seed_words torchrun MAX_GPUS_TO_USE="$1"
  in_runbook "${@:2}" steps/05-train.sh --dry-run
  eval "PLANNED=($(sed -n 's/^-> (cd [^)]*) //p' <<<"$output"))"
  assert_equal "${PLANNED[*]@Q}" "${SEED[*]@Q}"
}

@test "4 GPUs: the seed's command" { trains_with 4; }
@test "8 GPUs: the seed's command, with the 4 processes of MAX_GPUS_TO_USE" { gpus 8 && would_train_with 4; }
@test "8 GPUs and MAX_GPUS_TO_USE=8: 8 processes" { gpus 8 && would_train_with 8 MAX_GPUS_TO_USE=8; }
@test "2 GPUs: the seed's multi-GPU command with 2 processes (D-06)" { gpus 2 && would_train_with 2; }
# bats test_tags=deep
@test "8 processes and 2 train as well" {
  gpus 8 && trains_with 8 MAX_GPUS_TO_USE=8
  no_plan
  gpus 2 && trains_with 2
}

@test "1 GPU: torchrun with the words of the seed's single-GPU command (D-05)" {
  gpus 1
  trains_with 1
  local torchrun=("${SEED[@]}")
  seed_words python
  assert_equal "${torchrun[*]:0:3}" 'torchrun --nproc-per-node 1'
  assert_equal "${torchrun[*]:6}" "${SEED[*]:1}"
}

@test "1 GPU without torchrun, as the seed has it, would end before its first checkpoint (D-05)" {
  seed_words python
  cd "$UPSTREAM"
  run clean_environment PYTHONPATH="$STANDIN_SITE" WANDB_MODE=offline "$STANDIN_PYTHON" "${SEED[@]:1:6}" +run_name=alone
  assert_failure 1
  assert_output --partial 'Default process group has not been initialized'
  assert_file checkpoints/*/alone/all_config.yaml
  [[ -z $(find checkpoints/*/alone -name 'step_*') ]]
  rm -r checkpoints/*/alone
}

@test "no GPU: nothing starts" {
  gpus none
  in_runbook steps/05-train.sh --force
  assert_broken G-GPUS 4
  assert_plan_done
}

@test "wandb is offline without a key, whatever the caller's WANDB_MODE (D-08)" {
  answer 'echo "${WANDB_MODE-} ${WANDB_API_KEY-unset}" >"$STUBS/wandb"; real_torchrun "$@"' 'torchrun *'
  in_runbook WANDB_API_KEY= WANDB_MODE= steps/05-train.sh --force
  assert_success
  assert_equal "$(<"$STUBS/wandb")" 'offline unset'
}

@test "wandb is online with a key, which is written nowhere (D-08)" {
  answer 'echo "${WANDB_MODE-} ${WANDB_API_KEY-unset}" >"$STUBS/wandb"; real_torchrun "$@"' 'torchrun *'
  in_runbook WANDB_API_KEY=f1e2d3c4b5a69788 steps/05-train.sh --force
  assert_success
  assert_equal "$(<"$STUBS/wandb")" 'online f1e2d3c4b5a69788'
  run grep -rlF f1e2d3c4b5a69788 "$RUNBOOK" --exclude-dir=.venv
  assert_failure 1
}

# bats test_tags=deep
@test "a training that crashed starts again from nothing, and its files are set aside (D-15)" {
  in_runbook STANDIN_FAIL=crash steps/05-train.sh --force
  assert_failure 5
  assert_file "$UPSTREAM"/checkpoints/*/trm_arc2_paper_repro/step_361957
  rm -rf "$UPSTREAM"/checkpoints/*/*.set-aside-*
  seed_words torchrun
  plan 'real_torchrun "$@"' "${SEED[@]}" # no +load_checkpoint
  in_runbook STANDIN_STEPS=723914 steps/05-train.sh
  assert_success
  assert_plan_done
  refute_file "$UPSTREAM"/checkpoints/*/trm_arc2_paper_repro/step_361957
  assert_file "$UPSTREAM"/checkpoints/*/trm_arc2_paper_repro.set-aside-*/step_361957
}

# bats test_tags=deep
@test "step 5 does not repeat a finished training: it takes it up again, or says what is another (D-38)" {
  local kept
  in_runbook steps/05-train.sh --force
  assert_success
  kept=$(ls -l --time-style=full-iso "$UPSTREAM"/checkpoints/*/trm_arc2_paper_repro)
  echo '# edited' >>steps/05-train.sh
  in_runbook steps/05-train.sh
  git checkout --quiet steps
  assert_success
  assert_output --partial 'changed since: script'
  assert_output --partial 'taken up again'
  in_runbook MAX_GPUS_TO_USE=2 steps/05-train.sh
  assert_failure 4
  assert_output --partial 'it was made for something else: command'
  assert_output --partial 'not repeated unasked'
  assert_file .repro/runs/trm_arc2_paper_repro/05-train.stamp
  refute_output 'set aside as'
  assert_equal "$(ls -l --time-style=full-iso "$UPSTREAM"/checkpoints/*/trm_arc2_paper_repro)" "$kept"
  in_runbook steps/05-train.sh --force
  assert_success
  assert_output --partial 'set aside as'
}

# bats test_tags=deep
@test "a training is not repeated where only its stamp is gone, and not taken up where a byte of it changed" {
  local folder
  in_runbook steps/05-train.sh --force
  assert_success
  folder=$(echo "$UPSTREAM"/checkpoints/*/trm_arc2_paper_repro)
  rm .repro/runs/trm_arc2_paper_repro/05-train.stamp
  cp -a "$folder/step_723914" "$BATS_TEST_TMPDIR/kept"
  printf X | dd of="$folder/step_723914" conv=notrunc bs=1 seek=60 status=none
  touch -r "$BATS_TEST_TMPDIR/kept" "$folder/step_723914"
  in_runbook steps/05-train.sh
  assert_failure 4
  assert_output --partial 'does not vouch for what is there: different: trm_arc2_paper_repro/step_723914'
  assert_output --partial 'not repeated unasked'
  cp -a "$BATS_TEST_TMPDIR/kept" "$folder/step_723914"
  touch "$folder/step_999999" # it would be the final checkpoint
  in_runbook steps/05-train.sh
  assert_failure 4
  assert_output --partial 'extra: trm_arc2_paper_repro/step_999999'
  rm "$folder/step_999999"
  in_runbook steps/05-train.sh
  assert_success
  assert_output --partial 'taken up again'
}

# A byte changed behind size and time, before the training and while it goes on.
@test "what a training is given is what step 4 put out, byte for byte, from its start to its end (G-DATASET)" {
  local data=$UPSTREAM/data/arc2concept-aug-1000/train/all__inputs.npy swap
  cp -a "$data" "$BATS_TEST_TMPDIR/kept"
  swap="printf X 1<>'$data'; touch -r '$BATS_TEST_TMPDIR/kept' '$data'"
  answer "real_torchrun \"\$@\"; $swap" 'torchrun *'
  in_runbook steps/05-train.sh --force
  assert_broken G-DATASET
  assert_output --partial "all__inputs.npy was changed or replaced"
  refute_file .repro/runs/trm_arc2_paper_repro/05-train.stamp
  in_runbook steps/05-train.sh --force
  assert_broken G-DATASET
  assert_output --partial 'all__inputs.npy: not what the recipe names'
  cp -a "$BATS_TEST_TMPDIR/kept" "$data"
}

@test "without step 2, and inside another repository, step 5 says make step-2" {
  mv "$UPSTREAM" "$BATS_TEST_TMPDIR/kept" && mkdir "$UPSTREAM"
  in_runbook steps/05-train.sh --force
  rmdir "$UPSTREAM" && mv "$BATS_TEST_TMPDIR/kept" "$UPSTREAM"
  assert_broken G-UPSTREAM-PIN
  assert_output --partial 'hint: make step-2'
  assert_output --partial 'there is no dataset in'
  refute_output 'checkout'
}

#!/usr/bin/env bats
# bats file_tags=deep
# make rehearse ENGINE=upstream: the pinned upstream at toy scale through all eight steps, under its own name; step 1
# of the real run asks for it until it has succeeded with the same locks.

setup_file() {
  load helper
  make_runbook "$BATS_FILE_TMPDIR"
  cp "$REPO/recipes/base/arc-tasks.yaml" recipes/base/ # upstream's tasks, not the stand-in's
  training_environment
  answer "make_venv \"\$3\" && mkdir -p \"\$3/lib/python3.10/site-packages/nvidia/cu13/lib\"" 'python3.10 -m venv *'
  clean_environment steps/01-sanity.sh >"$BATS_FILE_TMPDIR/before" 2>&1
  clean_environment STANDIN_STEPS='80 160' make rehearse ENGINE=upstream >"$BATS_FILE_TMPDIR/said" 2>&1 ||
    { cat "$BATS_FILE_TMPDIR/said" && return 1; }
}
setup() {
  load helper
  cd "$RUNBOOK" || return
}
said() { assert_in_file "$1" "$BATS_FILE_TMPDIR/said"; }

@test "the dress rehearsal trains upstream itself, with the paper's flags and its own toy scale" {
  run grep '^torchrun' "$STUBS/calls"
  assert_output --partial \
    'torchrun --nproc-per-node 4 --rdzv_backend=c10d --rdzv_endpoint=localhost:0 --nnodes=1 pretrain.py arch=trm'
  assert_output --partial "arch.L_layers=2 arch.H_cycles=3 arch.L_cycles=4 +run_name=arc2_rehearsal_upstream ema=True \
global_batch_size=64 epochs=200 eval_interval=100"
}

@test "the dress rehearsal goes through all eight steps and sends nothing" {
  local step
  for step in 01-sanity 02-clone 03-venv 04-dataset 05-train 06-verify 07-publish 08-handoff; do
    assert_file ".repro/runs/arc2_rehearsal_upstream/$step.stamp"
  done
  said 'nothing was sent'
}

@test "the dress rehearsal leaves upstream's tracked files as they are" {
  assert_equal "$(git -C upstream/TinyRecursiveModels status --short --untracked-files=no)" ''
}

@test "the dress rehearsal is marked as what it is" {
  assert_in_file '"faithful": false' artifacts/arc2_rehearsal_upstream/manifest.json
  assert_in_file 'A dress rehearsal of arc2-paper' artifacts/arc2_rehearsal_upstream/manifest.json
}

@test "step 1 of the real run recommends it until it has succeeded, and again when a lock has changed" {
  assert_in_file 'dress rehearsal: none has succeeded here' "$BATS_FILE_TMPDIR/before"
  assert_in_file 'make rehearse ENGINE=upstream' "$BATS_FILE_TMPDIR/before"
  in_runbook steps/01-sanity.sh --force
  assert_success
  assert_output --partial 'ok       dress rehearsal: succeeded 20'
  cp locks/cu130.txt "$BATS_TEST_TMPDIR"
  echo '# another' >>locks/cu130.txt
  in_runbook steps/01-sanity.sh --force
  cp "$BATS_TEST_TMPDIR/cu130.txt" locks
  assert_output --partial 'dress rehearsal: none has succeeded here'
}

@test "make crosscheck that fails keeps the log that it names; one that does not leaves nothing of what it trained" {
  local name=arc2_upstream_cpu_crosscheck folder step code
  make_runbook "$BATS_TEST_TMPDIR"
  folder=upstream/TinyRecursiveModels/checkpoints/Arc2-rehearsal-aug-8-ACT-torch
  mkdir -p "$folder/arc2_upstream_cpu" && touch "$folder/arc2_upstream_cpu/step_23"
  # each step does nothing but leave a log; what comes after both trainings is another test's
  for step in steps/0[1-6]-*.sh; do
    printf '#!/usr/bin/env bash\nmkdir -p logs/$RUN_NAME .repro/runs/$RUN_NAME\ntouch logs/$RUN_NAME/log\n' >"$step"
    printf 'touch ".repro/env_arc2_$RUN_NAME.txt"\n' >>"$step"
  done
  for code in 5 130; do
    printf '[[ $RUN_NAME != *_crosscheck ]] || exit %s\n' "$code" >>steps/05-train.sh
    in_runbook make crosscheck
    assert_failure 2 # make's
    assert_output --partial "goes on from checkpoints/Arc2-rehearsal-aug-8-ACT-torch/arc2_upstream_cpu/step_23"
    assert_output --partial "Error $code"
    if ((code == 5)); then assert_file "logs/$name/log"; else assert_equal "$(compgen -G "*/*$name*")" ''; fi
    sed -i '$d' steps/05-train.sh
  done
  assert_equal "$(find . -name "*$name*" -not -path './.git/*')" ''
}

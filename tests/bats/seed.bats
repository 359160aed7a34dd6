#!/usr/bin/env bats
# Recipe arc2-paper, with the seed's own knobs, runs the seed's commands: token by token, from the machine's check to
# the manifest. Commands that are not the seed's are planned here by name, and each is a deviation.

setup_file() {
  load helper
  make_runbook "$BATS_FILE_TMPDIR"
  cp -R "$STANDIN" "$HOME_OF_TEST/mirror.git"
  seed_knobs
  training_environment
  : >"$STUBS/plan"
  plan_seed venv 'make_venv "$3"'
  plan_seed 'pip tooling'
  plan_seed torch
  plan : pip install ninja packaging setuptools-scm # D-04: what builds adam-atan2 without isolation
  plan_seed adam-atan2                              # D-04: before the requirements that name it
  plan_seed requirements
  plan_seed builder 'pwd >"$STUBS/builder-ran-in"; real_python "$@"'
  plan_seed torchrun 'pwd >"$STUBS/training-ran-in"; real_torchrun "$@"'
  answers_without_commands
  local step
  for step in steps/0[1-6]-*.sh; do
    clean_environment "${KNOBS_OF_SEED[@]}" PUBLISH_TO_KAGGLE=0 ENV_LOCK=none TRM_REMOTE="$HOME_OF_TEST/mirror.git" \
      "$step" >"$BATS_FILE_TMPDIR/${step##*/}.said" 2>&1 ||
      { cat "$BATS_FILE_TMPDIR/${step##*/}.said" "$STUBS/surprises" && return 1; }
  done
}

setup() {
  load helper
  cd "$RUNBOOK" || return
  TRM=$HOME_OF_TEST/TinyRecursiveModels
  RUN_DIR=$TRM/checkpoints/Arc2concept-aug-1000-ACT-torch/trm_arc2_paper_repro
}

# plan_seed NAME [ACTION]: the seed's command of that name comes next.
plan_seed() {
  seed_words "$1"
  plan "${2:-:}" "${SEED[@]}"
}

# Only looks at the environment are answered without having been planned.
answers_without_commands() {
  grep -E $'^(nvidia-smi|df|python3.10 -c|python -[cV]|pip list)' "$STUBS/answers" >"$STUBS/answers.kept"
  mv "$STUBS/answers.kept" "$STUBS/answers"
}

# python_quoted WORDS…: as shlex.join quotes them.
python_quoted() {
  local word out=''
  for word; do
    if [[ $word =~ ^[A-Za-z0-9_@%+=:,./-]+$ ]]; then out+="$word "; else out+="'$word' "; fi
  done
  printf '%s\n' "${out% }"
}

@test "every command is the seed's, token by token, and no other ran" {
  assert_plan_done
}

@test "the recipe under test is ours, but for the digests that name upstream's content" {
  local file
  assert_equal "$(diff -rq "$REPO/recipes" recipes | sed 's/.* and //; s/ differ$//' | tr '\n' ' ')" \
    'recipes/base/arc-tasks.yaml recipes/base/samsung.yaml recipes/digests/arc2concept-aug-1000.json '
  for file in base/arc-tasks.yaml base/samsung.yaml; do
    diff <(sed -E 's/ [0-9a-f]{40,64}$//' "$REPO/recipes/$file") <(sed -E 's/ [0-9a-f]{40,64}$//' "recipes/$file")
  done
}

@test "builder and training run in TRM_DIR, and everything else stays where the seed's step 1 began (D-01)" {
  assert_equal "$(<"$STUBS/builder-ran-in")" "$TRM"
  assert_equal "$(<"$STUBS/training-ran-in")" "$TRM"
  refute_file "$TRM/.repro"
  refute_file "$TRM/artifacts"
  refute_file "$TRM/logs"
}

@test "the seed's files appear under the seed's names" {
  assert_equal "$(<.repro/trm_commit.txt)" "$(git -C "$TRM" rev-parse --short HEAD)"
  assert_in_file 'cuda_available: True' .repro/env_arc2_trm_arc2_paper_repro.txt
  assert_equal "$(<.repro/summary_trm_arc2_paper_repro.txt)" "RUN_NAME=trm_arc2_paper_repro
CKPT=$RUN_DIR/step_723914
TRM_COMMIT=$STANDIN_COMMIT"
  assert_equal "$(<"$RUN_DIR/TRM_COMMIT.txt")" "$STANDIN_COMMIT"
  assert_equal "$(<artifacts/MANIFEST.txt)" "RUN_DIR=$RUN_DIR
CKPT=$RUN_DIR/step_723914
ENV_LOG=.repro/env_arc2_trm_arc2_paper_repro.txt
SUMMARY=.repro/summary_trm_arc2_paper_repro.txt"
}

@test "COMMANDS.txt holds every command as it ran, the torchrun part included (D-10)" {
  local name
  for name in venv 'pip tooling' torch adam-atan2 requirements builder torchrun; do
    seed_words "$name"
    grep -qxF -- "$(python_quoted "${SEED[@]}")" "$RUN_DIR/COMMANDS.txt" || fail "$name: $(cat "$RUN_DIR/COMMANDS.txt")"
  done
}

@test "the manifest has the commands, the guards and the deviations, and no path that tells whose machine it was" {
  local name
  assert_in_file '"format": "trm-repro/manifest/v1"' artifacts/manifest.json
  assert_in_file '"--rdzv_endpoint=localhost:0"' artifacts/manifest.json
  assert_in_file '"id": "D-04"' artifacts/manifest.json
  for name in "$RUNBOOK" "$HOME_OF_TEST"; do
    ! grep -F "$name" artifacts/manifest.json || fail "$name is in the manifest"
  done
}

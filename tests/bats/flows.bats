#!/usr/bin/env bats
# What the other code bases need of the steps: submodules and links of upstream's own, data and checkpoints that are
# downloaded, commands that run in a folder of the checkout, results without checkpoints or submissions.

load helper

# An upstream as NVARC is laid out: scripts in TRM/ that import through links, folders for the data with a README each.
setup() {
  make_runbook "$BATS_TEST_TMPDIR"
  NVARC=$BATS_TEST_TMPDIR/nvarc
  local name
  mkdir -p "$NVARC/TRM/arc-prize-trm-training-data" "$NVARC/TRM/arc-prize-trm-evaluation-data" "$NVARC/external"
  for name in training evaluation; do echo 'data goes here' >"$NVARC/TRM/arc-prize-trm-$name-data/README.md"; done
  git init --quiet "$NVARC"
  git -C "$NVARC" -c protocol.file.allow=always submodule --quiet add "$STANDIN" external/TinyRecursiveModels
  git -C "$NVARC/external/TinyRecursiveModels" checkout --quiet "$STANDIN_COMMIT"
  git -C "$NVARC" add --all
  git -C "$NVARC" -c user.name=tester -c user.email=tester@example.invalid commit --quiet --message 'NVARC'
  sed -i "s/846d0198efa752534594e321fc3289fc0a06c657/$(git -C "$NVARC" rev-parse HEAD)/
    s/4f187c7323c2b33826eac3afc3cd6315bcee25e7/$(git -C "$NVARC" rev-parse 'HEAD^{tree}')/" recipes/base/nvarc.yaml
  mkdir upstream/NVARC
  # the tool environment's programs, all real but those that would use the network
  rm .venv/bin && mkdir .venv/bin
  ln -s "$REPO"/.venv/bin/* .venv/bin
  for name in kaggle hf; do ln -sf "$REPO/tests/bats/stub.bash" ".venv/bin/$name"; done
  TRM=upstream/NVARC/TRM
}

# nvarc STEP…: runs the steps of recipe nvarc-eval-k-10; git may clone from a folder, as it may from the network.
nvarc() {
  in_runbook RECIPE=nvarc-eval-k-10 TRM_REMOTE="$NVARC" GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=protocol.file.allow \
    GIT_CONFIG_VALUE_0=always bash -e -c 'for step; do "$step"; done' bash "$@"
}

# The downloads, in the order in which they come.
downloads() {
  plan "mkdir -p checkpoint && '$STANDIN_PYTHON' -c 'import zipfile; zipfile.ZipFile(\"checkpoint/step_220708\", \"w\").writestr(\"data.pkl\", \"\")'" \
    kaggle datasets download cpmpml/arc-prize-trm-031 --path checkpoint --unzip
  plan "cp -R '$BATS_SUITE_TMPDIR/dataset/.' arc-prize-trm-evaluation-data" \
    kaggle datasets download cpmpml/arc-prize-trm-evaluation-data --path arc-prize-trm-evaluation-data --unzip
}

@test "clone: the license is said before the fetch, the submodule comes at its commit, the links can be made twice (D-26)" {
  nvarc steps/02-clone.sh
  assert_success
  [[ ${output%%-> git init*} == *'the repository has no license file'* ]] || fail "$(shown 'not said before the fetch')"
  assert_equal "$(git -C upstream/NVARC/external/TinyRecursiveModels rev-parse HEAD)" "$STANDIN_COMMIT"
  assert_equal "$(readlink "$TRM"/puzzle_dataset.py)" ../external/TinyRecursiveModels/puzzle_dataset.py
  assert_file "$TRM"/models/trm.py
  nvarc 'steps/02-clone.sh'
  assert_output '02-clone: fresh'
  rm .repro/runs/*/02-clone.stamp
  nvarc steps/02-clone.sh
  assert_success
  assert_equal "$(find "$TRM" -type l | wc -l)" 8
}

@test "clone: a link that leads elsewhere, and a change or a stray in the submodule, are seen" {
  nvarc steps/02-clone.sh
  ln -sfnT ../../elsewhere "$TRM"/utils
  echo '# changed' >>upstream/NVARC/external/TinyRecursiveModels/pretrain.py
  touch upstream/NVARC/external/TinyRecursiveModels/torch.py
  nvarc steps/04-dataset.sh
  assert_failure 4
  assert_output --partial 'G-UPSTREAM-UNMODIFIED: tracked files of upstream differ from the pin: pretrain.py'
  assert_output --partial 'torch.py'
  assert_output --partial 'TRM/utils'
}

@test "data and checkpoint are downloaded by the seed's words, in the folder where the commands run (D-27)" {
  downloads
  nvarc steps/02-clone.sh steps/04-dataset.sh
  assert_success
  assert_plan_done
  assert_output --partial 'starts from TRM/checkpoint/step_220708'
  assert_file "$TRM"/arc-prize-trm-evaluation-data/test_puzzles.json
  assert_in_file TRM/checkpoint/step_220708 .repro/runs/nvarc_eval_k_10/04-dataset.stamp
  assert_guard G-UPSTREAM-STRAYS holds
}

@test "a checkpoint of one's own pretraining is taken as it is; what upstream tracks in the data's folder stays" {
  nvarc steps/02-clone.sh
  mkdir "$TRM"/checkpoint "$TRM"/arc-prize-trm-evaluation-data/train
  "$STANDIN_PYTHON" -c "import zipfile; zipfile.ZipFile('upstream/NVARC/TRM/checkpoint/step_220708', 'w').writestr('data.pkl', 'own')"
  sum=$(sha256sum "$TRM"/checkpoint/step_220708)
  plan "cp -R '$BATS_SUITE_TMPDIR/dataset/.' arc-prize-trm-evaluation-data" \
    kaggle datasets download cpmpml/arc-prize-trm-evaluation-data --path arc-prize-trm-evaluation-data --unzip
  nvarc steps/04-dataset.sh
  assert_success
  assert_plan_done
  assert_equal "$(sha256sum "$TRM"/checkpoint/step_220708)" "$sum"
  assert_file "$TRM"/arc-prize-trm-evaluation-data/README.md
  assert_file "$TRM"/arc-prize-trm-evaluation-data.set-aside-*/train
}

@test "half a checkpoint is no checkpoint" {
  plan 'mkdir -p checkpoint && head -c 1000 /dev/zero >checkpoint/step_220708' \
    kaggle datasets download cpmpml/arc-prize-trm-031 --path checkpoint --unzip
  nvarc steps/02-clone.sh steps/04-dataset.sh
  assert_failure 4
  assert_output --partial 'a whole file as torch.save writes it, found 1000 bytes'
}

@test "a checkpoint of another size than the published one is not started from" {
  sed -i 's/^  file: step_220708$/&\n  bytes: 5000/' recipes/nvarc-eval-k-10.yaml
  downloads
  nvarc steps/02-clone.sh steps/04-dataset.sh
  assert_failure 4
  assert_output --partial 'TRM/checkpoint/step_220708: expected 5000 bytes, found 114'
  assert_output --partial 'hint: remove it and run the step again'
}

@test "a download that ends well and brings nothing is told of as such" {
  plan 'mkdir -p checkpoint' kaggle datasets download cpmpml/arc-prize-trm-031 --path checkpoint --unzip
  nvarc steps/02-clone.sh steps/04-dataset.sh
  assert_failure 4
  assert_output --partial 'checkpoint/step_220708: expected the checkpoint that the training starts from, found no such file'
  assert_plan_done
}

@test "a plan of every recipe can be made on a bare machine, and says what it would fetch" {
  local recipe
  for recipe in trelis-lora-eval2 nvarc-pretrain alphaxiv-eval-arc1 samsung-sudoku-mlp; do
    in_runbook RECIPE=$recipe bash -e -c 'for step in steps/0[2457]-*.sh; do "$step" --dry-run; done'
    assert_success
  done
  in_runbook RECIPE=trelis-lora-eval2 steps/04-dataset.sh --dry-run
  assert_output --partial 'hf download Trelis/TRM-ARC-AGI-II all_config.yaml losses.py step_723914 trm.py --local-dir pretrained'
}

@test "as many GPUs as the recipe's authors had are used, unless MAX_GPUS_TO_USE says less" {
  gpus 8
  in_runbook RECIPE=trelis-arc2 steps/05-train.sh --dry-run
  assert_output --partial '--nproc-per-node 8 '
  in_runbook RECIPE=arc2-paper steps/05-train.sh --dry-run
  assert_output --partial '--nproc-per-node 4 '
  in_runbook RECIPE=trelis-arc2 MAX_GPUS_TO_USE=2 steps/05-train.sh --dry-run
  assert_output --partial '--nproc-per-node 2 '
}

#!/usr/bin/env bats
# What the other code bases need of the steps: submodules and links of upstream's own, data and checkpoints that are
# downloaded, commands that run in a folder of the checkout, results without checkpoints or submissions.

load helper

# A runbook whose upstream is as NVARC. Step 2 is done once; each test begins with the clone as that left it.
setup_file() {
  make_runbook "$BATS_FILE_TMPDIR"
  no_network
  nvarc_in "$BATS_FILE_TMPDIR/nvarc"
  mkdir upstream/NVARC
  nvarc steps/02-clone.sh
  assert_success
  echo "$output" >"$BATS_FILE_TMPDIR/cloned"
  cp -a upstream/NVARC "$BATS_FILE_TMPDIR/clone"
}
setup() {
  cd "$RUNBOOK" || return
  TRM=upstream/NVARC/TRM
  rm -rf upstream/NVARC .repro/runs/*/04-dataset.stamp && cp -a "$BATS_FILE_TMPDIR/clone" upstream/NVARC
  git checkout --quiet recipes
  no_plan
}
nvarc() { in_runbook RECIPE=nvarc-eval-k-10 TRM_REMOTE="$BATS_FILE_TMPDIR/nvarc" "$@"; }

# The downloads, in the order in which they come.
weights=(kaggle datasets download cpmpml/arc-prize-trm-031 --path checkpoint --unzip)
data=(kaggle datasets download cpmpml/arc-prize-trm-evaluation-data --path arc-prize-trm-evaluation-data --unzip)
plan_weights() { plan "$(checkpoint checkpoint/step_220708)" "${weights[@]}"; }
plan_data() { plan "cp -R '$BATS_SUITE_TMPDIR/dataset/.' arc-prize-trm-evaluation-data" "${data[@]}"; }

@test "clone: the license is said before the fetch, the submodule comes at its commit, links can be made twice (D-26)" {
  output=$(<"$BATS_FILE_TMPDIR/cloned")
  [[ ${output%%-> git init*} == *'the repository has no license file'* ]] || fail "$(shown 'not said before the fetch')"
  assert_equal "$(git -C upstream/NVARC/external/TinyRecursiveModels rev-parse HEAD)" "$STANDIN_COMMIT"
  assert_equal "$(readlink "$TRM"/puzzle_dataset.py)" ../external/TinyRecursiveModels/puzzle_dataset.py
  assert_file "$TRM"/models/trm.py
  nvarc steps/02-clone.sh
  assert_output '02-clone: fresh'
  nvarc steps/02-clone.sh --force
  assert_success
  assert_equal "$(find "$TRM" -type l | wc -l)" 8
}

@test "clone: a link that leads elsewhere, and a change or a stray in the submodule, are seen" {
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
  plan_weights
  plan_data
  nvarc steps/04-dataset.sh
  assert_success
  assert_plan_done
  assert_output --partial 'starts from TRM/checkpoint/step_220708'
  assert_file "$TRM"/arc-prize-trm-evaluation-data/test_puzzles.json
  assert_in_file TRM/checkpoint/step_220708 .repro/runs/nvarc_eval_k_10/04-dataset.stamp
  assert_guard G-UPSTREAM-STRAYS holds
}

@test "a checkpoint of one's own pretraining is taken as it is; what upstream tracks in the data's folder stays" {
  mkdir "$TRM"/checkpoint "$TRM"/arc-prize-trm-evaluation-data/train
  "$STANDIN_PYTHON" -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1], "w").writestr("data.pkl", "own")' \
    upstream/NVARC/TRM/checkpoint/step_220708
  sum=$(sha256sum "$TRM"/checkpoint/step_220708)
  plan_data
  nvarc steps/04-dataset.sh
  assert_success
  assert_plan_done
  assert_equal "$(sha256sum "$TRM"/checkpoint/step_220708)" "$sum"
  assert_file "$TRM"/arc-prize-trm-evaluation-data/README.md
  assert_file "$TRM"/arc-prize-trm-evaluation-data.set-aside-*/train
}

@test "half a checkpoint is no checkpoint" {
  plan 'mkdir -p checkpoint && head -c 1000 /dev/zero >checkpoint/step_220708' "${weights[@]}"
  nvarc steps/04-dataset.sh
  assert_failure 4
  assert_output --partial 'a whole file as torch.save writes it, found 1000 bytes'
}

@test "a checkpoint of another size than the published one is not started from" {
  sed -i 's/^  file: step_220708$/&\n  bytes: 5000/' recipes/nvarc-eval-k-10.yaml
  plan_weights
  nvarc steps/04-dataset.sh
  assert_failure 4
  assert_output --partial 'TRM/checkpoint/step_220708: expected 5000 bytes, found 114'
  assert_output --partial 'hint: remove it and run the step again'
}

@test "a download that ends well and brings nothing is told of as such" {
  plan 'mkdir -p checkpoint' "${weights[@]}"
  nvarc steps/04-dataset.sh
  assert_failure 4
  assert_output --partial \
    'checkpoint/step_220708: expected the checkpoint that the training starts from, found no such file'
  assert_plan_done
}

# bats test_tags=deep
@test "a plan of every recipe can be made on a bare machine, and says what it would fetch" {
  local recipe
  for recipe in nvarc-pretrain alphaxiv-eval-arc1 samsung-sudoku-mlp trelis-lora-eval2; do
    in_runbook RECIPE=$recipe bash -e -c 'for step in steps/0[2457]-*.sh; do "$step" --dry-run; done'
    assert_success
  done
  assert_output --partial \
    'hf download Trelis/TRM-ARC-AGI-II all_config.yaml losses.py step_723914 trm.py --local-dir pretrained'
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

@test "the dress rehearsal would train upstream itself, with the paper's flags and its own toy scale" {
  in_runbook RECIPE=arc2-rehearsal-upstream steps/05-train.sh --dry-run
  assert_output --partial 'pretrain.py arch=trm'
  assert_output --partial '+run_name=arc2_rehearsal_upstream ema=True global_batch_size=64 epochs=200 eval_interval=100'
}

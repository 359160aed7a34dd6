#!/usr/bin/env bats
# Steps 4 to 8, unchanged, on what the other code bases leave: other names, places and metrics, no evaluation, no
# checkpoint.

load helper

setup() {
  make_runbook "$BATS_TEST_TMPDIR"
  training_environment
  no_network
  CODE=$BATS_TEST_TMPDIR/code
}

# as_standin: CODE is the stand-in, to be changed.
as_standin() {
  git clone --quiet "$STANDIN" "$CODE"
  git -C "$CODE" checkout --quiet --detach "$STANDIN_COMMIT"
}

# run_all RECIPE STEPS RUN_NAME [LAST]: the steps 2 to LAST (8); the training ends at these steps.
run_all() {
  in_runbook RECIPE="$1" TRM_REMOTE="$CODE" STANDIN_STEPS="$2" \
    bash -e -c 'for step in steps/0[2-'"${4:-8}"']-*.sh; do "$step"; done'
  assert_success
  assert_plan_done
  refute_output BROKEN
  assert_in_file '"faithful": true' "artifacts/$3/manifest.json"
}

nvarc_pretrain() {
  nvarc_in "$CODE"
  plan "cp -R '$BATS_SUITE_TMPDIR/dataset/.' arc-prize-trm-training-data" \
    kaggle datasets download cpmpml/arc-prize-trm-training-data --path arc-prize-trm-training-data --unzip
  run_all nvarc-pretrain '24 48' nvarc_pretrain "$1"
}
# bats test_tags=deep
@test "NVARC's pretraining: no evaluation, no metrics, sources of a submodule, checkpoints under a name of its own" {
  nvarc_pretrain 6
}
# bats test_tags=deep
@test "NVARC's pretraining, published" { nvarc_pretrain 8; }

# bats test_tags=deep
@test "NVARC's fine-tuning and evaluation: a checkpoint to start from, printed metrics, ten attempts" {
  nvarc_in "$CODE"
  plan "$(checkpoint checkpoint/step_220708)" \
    kaggle datasets download cpmpml/arc-prize-trm-031 --path checkpoint --unzip
  plan "cp -R '$BATS_SUITE_TMPDIR/dataset/.' arc-prize-trm-evaluation-data" \
    kaggle datasets download cpmpml/arc-prize-trm-evaluation-data --path arc-prize-trm-evaluation-data --unzip
  run_all nvarc-eval-k-10 235 nvarc_eval_k_10
  assert_output --partial 'scores                         1 of 1 are on record, and equal ours'
  assert_in_file attempt_10 upstream/NVARC/kaggle_dataset_arc2_nvarc_eval_k_10/submission.json
}

trelis_lora() {
  as_standin
  git -C "$CODE" mv pretrain.py standin.py
  cat >"$CODE/pretrain.py" <<'PYTHON'
import sys
import standin
assert sys.argv[1:3] == ["--config-name", "cfg_pretrain_lora"]
del sys.argv[1:3]
standin.CONFIG.update(load_checkpoint="pretrained/step_723914", entity="trelis", global_batch_size=96, epochs=5000)
standin.CONFIG["arch"].update(lora_rank=1, lora_alpha=16.0)
whole = standin.shapes
standin.shapes = lambda *about: whole(*about) | {"lm_head._lora_A": (1, 512), "lm_head._lora_B": (12, 1)}
standin.main()
PYTHON
  pinned trelis "$CODE"
  plan "$(checkpoint pretrained/step_723914)" \
    hf download Trelis/TRM-ARC-AGI-II all_config.yaml losses.py step_723914 trm.py --local-dir pretrained
  sed -i '/^  bytes:/d' recipes/base/trelis-lora.yaml
  run_all trelis-lora-eval2 '3688 7374 11060 14745 18431' lora_manual_Trelis_eval2 "$1"
  assert_output --partial 'scores                         5 of 5 are on record, and equal ours'
}
# bats test_tags=deep
@test "Trelis' LoRA: the configuration is a file of upstream's, the checkpoints hold adapters" { trelis_lora 6; }
# bats test_tags=deep
@test "Trelis' LoRA, published" { trelis_lora 8; }

# bats test_tags=deep
@test "alphaXiv's evaluation: a package to install, no checkpoint, no submission, and nothing to publish" {
  as_standin
  mkdir "$CODE/scripts"
  cat >"$CODE/scripts/run_eval_only.py" <<'PYTHON'
import os
import sys
from pathlib import Path
words = dict(zip(sys.argv[1:], sys.argv[2:]))
assert Path(words["--checkpoint"]).is_file() and Path(words["--dataset"], "test/dataset.json").is_file()
if os.environ["RANK"] == "0":
    Path(words["--outdir"]).mkdir(parents=True)
    Path(words["--outdir"], "step_0_all_preds.0").touch()
    print("No evaluator found")
    print("Run metrics:\n{'all': {'accuracy': np.float32(0.97), 'exact_accuracy': np.float32(0.8333)}}")
PYTHON
  pinned alphaxiv "$CODE"
  plan "$(checkpoint trained_models/maze_hard_step_32550)" \
    hf download alphaXiv/trm-model-maze maze_hard_step_32550 --local-dir trained_models
  plan "mkdir -p data && cp -R '$BATS_SUITE_TMPDIR/dataset' data/maze-30x30-hard-1k" \
    python -m trm.data.build_maze_dataset
  run_all alphaxiv-eval-maze '' alphaxiv_eval_maze
  assert_output --partial 'all.exact_accuracy'
}

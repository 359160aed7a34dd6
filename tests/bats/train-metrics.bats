#!/usr/bin/env bats
# What upstream passes to wandb.log also goes to metrics.jsonl, and WANDB_TAP=0 turns that off (D-32).

load helper
setup() {
  make_runbook "$BATS_TEST_TMPDIR"
  built
}
metrics() { echo "$UPSTREAM"/checkpoints/*/trm_arc2_paper_repro/metrics.jsonl; }

@test "every wandb.log is a line of metrics.jsonl, and wandb gets it as well (D-32)" {
  answer 'echo "PYTHONUNBUFFERED is ${PYTHONUNBUFFERED-not set}"; real_torchrun "$@"' 'torchrun *'
  in_runbook steps/05-train.sh
  assert_success
  assert_equal "$(wc -l <"$(metrics)")" "$(wc -l <logs/trm_arc2_paper_repro/wandb/logged.jsonl)"
  assert_in_file '"num_params": 6829058' "$(metrics)"
  assert_in_file '"all.exact_accuracy": 0.5' "$(metrics)"
  assert_in_file '"ARC/pass@2": 0.3333333333333333' "$(metrics)"
  # the tap is recorded with the command, and upstream's tree is still unmodified
  grep -q '"step": "05-train".*"PYTHONPATH": "[^"]*src/trm_repro/tap"' .repro/runs/trm_arc2_paper_repro/commands.jsonl
  assert_equal "$(git -C "$UPSTREAM" status --porcelain --untracked-files=no)" ''
  assert_equal "$(grep -c '"outcome": "broken"' .repro/runs/trm_arc2_paper_repro/guards.jsonl)" 0
  # the training's output is not buffered, so that lines are seen when they are printed
  assert_output --partial 'PYTHONUNBUFFERED is 1'
}

# bats test_tags=deep
@test "WANDB_TAP=0: no file, nothing on PYTHONPATH, and the verdict says that scores are not on record" {
  in_runbook WANDB_TAP=0 steps/05-train.sh
  assert_success
  refute_file "$UPSTREAM/checkpoints/Arc2concept-aug-1000-ACT-torch/trm_arc2_paper_repro/metrics.jsonl"
  assert_equal "$(grep -c PYTHONPATH .repro/runs/trm_arc2_paper_repro/commands.jsonl)" 0
  in_runbook WANDB_TAP=0 steps/06-verify.sh
  assert_success
  assert_output --partial "the training's own scores are not on record"
}

@test "a PYTHONPATH from outside is still refused" {
  in_runbook PYTHONPATH=/somewhere steps/05-train.sh
  assert_failure 4
  assert_output --partial 'PYTHONPATH=/somewhere'
}

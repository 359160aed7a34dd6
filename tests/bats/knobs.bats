#!/usr/bin/env bats
# Knobs that cannot be what they are stop every step, and what else begins with a run, before anything is written.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

@test "what cannot be run at all is refused by every step, all at once, before anything is written" {
  local step
  for step in steps/*.sh; do
    in_runbook RUN_NAME=../elsewhere MAX_GPUS_TO_USE='a[$(touch here)]' TRM_REMOTE='--upload-pack=touch here' \
      PUBLISH_TO_KAGGLE=yes PUBLISH_TO_KAGLE=1 EXTRA_TRAIN_ARGS=$'\xff' GPU_HOUR_USD=abc "$step"
    assert_failure 2
    assert_equal "$(sed -n 's/^  \([A-Z_]*\) is .*/\1/p' <<<"$output" | tr '\n' ' ')" \
      'RUN_NAME MAX_GPUS_TO_USE PUBLISH_TO_KAGGLE TRM_REMOTE EXTRA_TRAIN_ARGS GPU_HOUR_USD PUBLISH_TO_KAGLE '
    assert_output --partial 'did you mean PUBLISH_TO_KAGGLE?'
  done
  for step in all status watch report plan; do
    in_runbook RECIPE=base/samsung make "$step" ONCE=1
    assert_failure 2
    assert_output --partial "RECIPE is 'base/samsung': a part of recipes, not one"
    refute_output Traceback
  done
  in_runbook RUN_NAME="$(printf 'a%.0s' {1..5000})" steps/01-sanity.sh
  assert_failure 2
  assert_output --partial '5000 characters; 100 at most'
  refute_file .repro
  refute_file artifacts
  refute_file here
}

@test "a misspelt name in env.local.sh, and make FORCE=yes, are told" {
  printf 'RUN_NAM=mine\n' >env.local.sh
  in_runbook make step-1
  assert_failure 2
  assert_output --partial 'RUN_NAM in env.local.sh is no knob: did you mean RUN_NAME?'
  rm env.local.sh
  in_runbook make step-1 FORCE=yes
  assert_output --partial "FORCE is 'yes': use 1 or 0"
}

@test "a verb of the steps that is called by hand says which knob it lacks" {
  in_runbook RUN_NAME=x RECIPE=arc2-paper .venv/bin/trm-repro step prove --run-dir x
  assert_failure 4
  assert_output "error: TRM_DIR is not set
hint: call it in the repository's folder, or run it through make or a step"
}

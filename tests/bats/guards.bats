#!/usr/bin/env bats
# Every step tries its guards, before it does anything, and lists every one that is broken. What breaks each of them is
# in its own file, guard-*.bats; there the guards are tried alone.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

# broken_in STEP CODE G-NAME…: in a runbook where nothing is as it must be, the step stops with that code at these
# guards, all listed at once, each with its remedy and on record.
LONG=$(printf 'a%.0s' {1..100})
broken_in() {
  in_runbook TARGET_DATASET=arc1 RUN_NAME="$LONG" MAX_GPUS_TO_USE=5 PYTHONOPTIMIZE=1 KAGGLE_DATASET_SLUG=trm \
    EXTRA_BUILDER_ARGS='--subsets training' EXTRA_TRAIN_ARGS='++data_paths=[data/arc1concept-aug-1000]' \
    PUBLISH_TO_KAGGLE=1 KAGGLE_USERNAME=somebody "steps/$1.sh"
  assert_failure "$2"
  assert_equal "$(sed -n 's/^error: \(G-[A-Z0-9-]*\): .*/\1/p' <<<"$output" | tr '\n' ' ')" "${*:3} "
  assert_equal "$(grep -A1 '^error: G-' <<<"$output" | grep -c '^hint: ')" "$(($# - 2))"
  assert_output --partial "$1: $(($# - 2)) problem(s), all listed above; nothing was started"
  assert_equal "$(grep -c "\"step\": \"$1\".*\"outcome\": \"broken\"" .repro/runs/"$LONG"/guards.jsonl)" "$(($# - 2))"
  refute_file ".repro/runs/$LONG/$1.stamp"
}

@test "every guard of step 1 holds on a large machine with the recipe's commands" {
  in_runbook steps/01-sanity.sh
  assert_holds G-TARGET-DATASET G-TOOLS G-PYTHON G-GPUS G-MACHINE G-PROCESSES G-BUILDER-COMMAND \
    G-TRAIN-COMMAND G-NO-ARC1 G-ENVIRONMENT G-SUPPORT G-KAGGLE-NAMES G-KAGGLE-CREDENTIALS
  # what it recommends before days of work (rehearsal-upstream.bats)
  assert_output --partial 'dress rehearsal: none has succeeded here'
  assert_output --partial 'make rehearse ENGINE=upstream'
}

@test "step 1 lists every problem at once, each with its remedy" {
  gpus none
  python_is 3.12
  memory 4
  without make
  broken_in 01-sanity 3 G-TARGET-DATASET G-TOOLS G-PYTHON G-GPUS G-MACHINE G-PROCESSES G-BUILDER-COMMAND \
    G-TRAIN-COMMAND G-NO-ARC1 G-ENVIRONMENT G-KAGGLE-NAMES G-KAGGLE-CREDENTIALS
  assert_output --partial 'make rehearse'
  # guards that cannot be overridden do not offer it, the others name themselves
  assert_output --partial 'OVERRIDE=G-TARGET-DATASET'
  refute_output 'OVERRIDE=G-GPUS'
}

@test "the other steps look again, each at what it needs, and touch nothing" {
  clone_upstream
  git -C "$UPSTREAM" checkout --quiet main
  touch "$UPSTREAM/torch.py"
  python_is 3.11
  gpus none
  broken_in 02-clone 4 G-UPSTREAM-PIN G-UPSTREAM-UNMODIFIED G-UPSTREAM-STRAYS
  broken_in 03-venv 4 G-PYTHON
  broken_in 04-dataset 4 G-TARGET-DATASET G-UPSTREAM-PIN G-UPSTREAM-UNMODIFIED G-UPSTREAM-STRAYS G-BUILDER-COMMAND \
    G-NO-ARC1 G-ENVIRONMENT G-ENVIRONMENT-FILES
  broken_in 05-train 4 G-TARGET-DATASET G-GPUS G-PROCESSES G-UPSTREAM-PIN G-UPSTREAM-UNMODIFIED G-UPSTREAM-STRAYS \
    G-TRAIN-COMMAND G-NO-ARC1 G-ENVIRONMENT G-ENVIRONMENT-FILES G-DATASET
  for name in .venv data checkpoints; do refute_file "$UPSTREAM/$name"; done
  assert_equal "$(git -C "$UPSTREAM" rev-parse --abbrev-ref HEAD)" main # nobody's clone is reset
  mkdir -p "$UPSTREAM/checkpoints/Arc2concept-aug-1000-ACT-torch/$LONG"
  touch "$UPSTREAM/checkpoints/Arc2concept-aug-1000-ACT-torch/$LONG/step_1"
  broken_in 06-verify 4 G-TARGET-DATASET G-UPSTREAM-PIN G-UPSTREAM-UNMODIFIED
  broken_in 07-publish 3 G-KAGGLE-NAMES G-KAGGLE-CREDENTIALS
}

#!/usr/bin/env bats
# What only looks at a run looks at the last one, or at the one that is named.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

# looked_at [NAME=VALUE…]: what make status and its like would look at.
looked_at() {
  # shellcheck disable=SC2016
  in_runbook LAST_RUN=1 "$@" bash -c 'source lib/prelude.bash && printf "%s %s %s\n" "$RUN_NAME" "$RECIPE" "$TRM_DIR"'
}

@test "the last run that was worked on is looked at, with the knobs that it had, unless another is named" {
  local paper="trm_arc2_paper_repro arc2-paper $RUNBOOK/upstream/TinyRecursiveModels"
  local rehearsed="arc2_rehearsal arc2-rehearsal $RUNBOOK/elsewhere"
  in_runbook make step-1
  assert_success
  in_runbook WANDB_API_KEY=0123456789 make step-1 RECIPE=arc2-rehearsal TRM_DIR="$RUNBOOK/elsewhere"
  assert_success
  ! grep -rE '0123456789|ada' .repro/runs/*/knobs || fail 'a secret is written down'
  assert_in_file 'TRM_DIR=$REPRO_ROOT/elsewhere' .repro/runs/arc2_rehearsal/knobs

  looked_at
  local said='==> the last run: arc2_rehearsal (recipe arc2-rehearsal); RUN_NAME=… names another: trm_arc2_paper_repro'
  assert_output "$said"$'\n'"$rehearsed"
  looked_at RECIPE=arc2-paper
  assert_output "$paper"
  looked_at RUN_NAME=trm_arc2_paper_repro
  assert_output "$paper"
  looked_at RUN_NAME=arc2_rehearsal
  assert_output "$rehearsed"
  looked_at TRM_DIR=/mine
  assert_output --partial 'arc2_rehearsal arc2-rehearsal /mine'
  looked_at RUN_NAME=arc2_reharsal
  assert_output --partial "no run 'arc2_reharsal' has begun here; there are: arc2_rehearsal trm_arc2_paper_repro"
  echo RECIPE=arc2-paper >env.local.sh
  looked_at
  assert_output "$paper"
  rm env.local.sh

  in_runbook .venv/bin/trm-repro status # from a plain shell, too
  assert_success
  assert_output --partial 'arc2_rehearsal (recipe arc2-rehearsal)'
  [[ $output =~ 01-sanity\ +done ]] || fail "$output"
  in_runbook make status JSON=1
  assert_output --partial '"next": "02-clone"'
  in_runbook make verify
  assert_output --partial "$RUNBOOK/elsewhere/kaggle_dataset_arc2_arc2_rehearsal: no such file or folder"
  in_runbook make evaluate
  assert_output --partial "arc2_rehearsal/manifest.json is not there: the run has not finished step 6"
  # one of before: its recipe is that whose run has this name
  rm .repro/runs/*/knobs && touch .repro/runs/trm_arc2_paper_repro/lock
  looked_at
  assert_output --partial "$paper"
}

@test "a run that a step works on is the last one; of two at work, and where there is none, nobody guesses" {
  local lock
  looked_at
  assert_failure 3
  assert_output --partial 'error: no run has begun here'
  looked_at LAST_RUN=any
  assert_output --partial 'trm_arc2_paper_repro arc2-paper'
  mkdir -p .repro/runs/{one,two,three}
  touch .repro/runs/{one,two,three}/lock
  for lock in two one; do
    flock ".repro/runs/$lock/lock" sleep 60 3>&- &
    wait_until bash -c "! flock --nonblock .repro/runs/$lock/lock sleep 0"
    looked_at
    [[ $lock == one ]] || assert_output --partial 'the last run: two (recipe unknown)'
  done
  assert_failure 2
  assert_output --partial 'error: 2 runs are at work'
  assert_output --partial 'hint: name one of them: RUN_NAME='
}

#!/usr/bin/env bats
# What all steps have in common: options, exit codes, logs, streams, messages.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

# listing: every file of the runbook and of HOME, with its time and content; what a look at them leaves is not there.
listing() {
  find "$RUNBOOK" "$HOME_OF_TEST" ! -name .stubs -printf '%p %y %s %T@ %l\n' | grep -v '/\.git/index' | sort
}

@test "every step's --help is its header, up to the first blank line" {
  local step
  for step in steps/*.sh; do
    in_runbook "$step" --help
    assert_success
    assert_equal "$output" "$(sed '1d;/^$/,$d;s/^# \{0,1\}//' "$step")"
    assert_output --partial "Usage: $step [--help] [--dry-run] [--force]"
    for word in Summary: Reads: Writes: Guarantees: Environment: Exit:; do assert_output --partial "$word"; done
  done
}

@test "every step refuses an unknown option, and does nothing" {
  local step before
  before=$(listing)
  for step in steps/*.sh; do
    in_runbook "$step" --fast
    assert_failure 2
    assert_output "error: unknown option '--fast'
hint: $step --help"
  done
  assert_equal "$(listing)" "$before"
}

@test "every step's header names the knobs that it uses" {
  local step name
  # shellcheck source=/dev/null
  source env.sh
  for step in steps/*.sh; do
    for name in "${KNOBS[@]}"; do
      # what is done does not depend on these
      case $name in RECIPE | WANDB_API_KEY | WANDB_TAP | RESUME | TRM_REMOTE) continue ;; esac
      grep -v '^#' "$step" | grep -qE "\\\$\{?$name\b" || continue
      sed -n '/^# Environment:/,/^# [A-Z][a-z]*:/p' "$step" | grep -qE " $name( |\$)" ||
        fail "$step uses $name, its header does not name it"
    done
  done
}

@test "an unknown recipe is a usage error that names the known ones" {
  in_runbook RECIPE=arc3 steps/01-sanity.sh
  assert_failure 2
  assert_output --partial "RECIPE is 'arc3': no recipe 'arc3'"
  assert_output --partial 'arc2-paper arc2-rehearsal'
}

@test "without the tool environment a step says how to make it" {
  rm .venv/bin
  in_runbook steps/01-sanity.sh
  assert_failure 3
  assert_output --partial 'make .venv/ready'
}

@test "an old bash is told so" {
  sed -i 's/BASH_VERSINFO\[0\] \* 100 + BASH_VERSINFO\[1\]/403/' lib/prelude.bash
  in_runbook steps/01-sanity.sh
  assert_failure 3
  assert_output --partial 'install bash 4.4 or newer'
}

@test "a step runs from any folder, by any path" {
  ln -s "$RUNBOOK" "$BATS_TEST_TMPDIR/link"
  cd /
  in_runbook "$BATS_TEST_TMPDIR/link/steps/01-sanity.sh"
  assert_success
  assert_file "$RUNBOOK/.repro/runs/trm_arc2_paper_repro/01-sanity.stamp"
}

@test "stdout is one line of result, all else is stderr, and the log has both" {
  run --separate-stderr clean_environment steps/01-sanity.sh
  assert_success
  assert_output '01-sanity: nothing that can be known now stands in the way'
  [[ $stderr == *'==> 01-sanity: '* ]]
  assert_in_file "$output" logs/trm_arc2_paper_repro/01-sanity.*.log
  assert_in_file '==> 01-sanity: ' logs/trm_arc2_paper_repro/01-sanity.*.log
}

# bats test_tags=deep
@test "each attempt has a log of its own, named by step and time" {
  in_runbook steps/01-sanity.sh
  sleep 1
  in_runbook steps/01-sanity.sh --force
  assert_equal "$(find logs/trm_arc2_paper_repro -name '01-sanity.20??????T??????Z.log' | wc -l)" 2
}

@test "a dry run of every step prints its commands and leaves no trace" {
  local step before
  before=$(listing)
  for step in steps/*.sh; do
    in_runbook "$step" --dry-run
    assert_success
    [[ $step == *0[168]* ]] || assert_output --partial '-> '
  done
  assert_equal "$(listing)" "$before"
  run grep -vE '^(nvidia-smi|df|python3.10 -c)' "$STUBS/calls"
  assert_output ''
}

@test "what a dry run prints can be pasted: the words come out as they will run" {
  local printed
  clone_upstream
  in_runbook steps/05-train.sh --dry-run
  assert_success
  printed=$(sed -n "s/^-> (cd [^)]*) //p" <<<"$output")
  eval "PASTED=($printed)"
  seed_words torchrun
  assert_equal "${PASTED[*]@Q}" "${SEED[*]@Q}"
  in_runbook RUN_NAME=x EXTRA_TRAIN_ARGS="it's;\$HOME" steps/05-train.sh --dry-run
  printed=$(sed -n "s/^-> (cd [^)]*) //p" <<<"$output")
  eval "PASTED=($printed)"
  assert_equal "${PASTED[-1]}" "it's;\$HOME"
}

@test "what the training environment lacks is not taken from the tool environment" {
  rm .venv/bin && mkdir .venv/bin
  ln -s "$REPO"/.venv/bin/{python,trm-repro} .venv/bin
  ln -s "$REPO/tests/bats/stub.bash" .venv/bin/pip
  ln -s "$REPO/tests/bats/stub.bash" .venv/bin/torchrun
  clone_upstream
  in_runbook USE_VENV=0 steps/03-venv.sh
  assert_failure 5
  assert_output --partial 'pip: not found'
  mkdir "$UPSTREAM/.venv"
  in_runbook OVERRIDE='G-ENVIRONMENT-FILES G-DATASET' steps/05-train.sh
  assert_failure 5
  assert_output --partial 'torchrun'
  assert_plan_done
}

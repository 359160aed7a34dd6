#!/usr/bin/env bats
# What is missing, closed, full or not ours: a plain message each, and nothing hangs.

load helper
setup() {
  make_runbook "$BATS_TEST_TMPDIR"
  LIMIT=$(type -P timeout)
}

# bats test_tags=deep
@test "no step hangs, holds its lock or loses its log when stdin, stdout and stderr are closed, in any combination" {
  local closed
  for closed in '>&-' '2>&-' '<&-' '>&- 2>&-' '<&- >&-' '<&- 2>&-' '<&- >&- 2>&-'; do
    run clean_environment "$LIMIT" 60 bash -c "steps/01-sanity.sh --force $closed"
    assert_success
    flock --nonblock .repro/runs/trm_arc2_paper_repro/lock true || fail "$closed: the lock is held"
  done
  assert_in_file '01-sanity: nothing that can be known now' logs/trm_arc2_paper_repro/01-sanity.*.log
  training_environment
  for step in steps/*.sh; do
    run clean_environment "$LIMIT" 300 bash -c "$step <&- >&- 2>&-"
    assert_success
    flock --nonblock .repro/runs/trm_arc2_paper_repro/lock true || fail "$step: the lock is held"
  done
  in_runbook "$LIMIT" 60 bash -c 'make step-1 FORCE=1 <&- >&- 2>&-'
  run clean_environment "$LIMIT" 60 bash -c '.venv/bin/trm-repro recipe list >&- 2>&- <&-'
  assert_success
}

@test "a missing program is named, with what to do" {
  local name
  for name in flock tee date sed; do
    mkdir "$BATS_TEST_TMPDIR/$name" && cp -a "$BIN/." "$BATS_TEST_TMPDIR/$name" && rm "$BATS_TEST_TMPDIR/$name/$name"
    in_runbook PATH="$STUBS/bin:$BATS_TEST_TMPDIR/$name" steps/04-dataset.sh
    assert_failure 3
    assert_output --partial "error: missing: $name"
    assert_output --partial 'hint: install them'
  done
  without git
  for name in 02-clone 04-dataset 05-train 06-verify; do
    in_runbook "steps/$name.sh"
    assert_failure 3
    refute_output Traceback
    refute_output 'command not found'
    [[ $output == *'missing: git'* || $output == *'no checkpoint (step_<N>) found'* ]] || fail "$(shown "$name")"
  done
  rm .venv/bin && mkdir .venv/bin && ln -s "$REPO/.venv/bin/trm-repro" .venv/bin
  ln -s /nowhere/python .venv/bin/python
  in_runbook steps/01-sanity.sh
  assert_failure 3
  assert_output --partial 'the tool environment .venv has lost its Python (/nowhere/python)'
}

@test "a full disk in step 4 is said in one line, whoever finds it" {
  [[ $(id -u) == 0 ]] && unshare --mount true 2>/dev/null || skip 'needs a mount namespace'
  local small=$BATS_TEST_TMPDIR/small
  mkdir "$small"
  disk 200
  rm "$STUBS/bin/df"
  in_runbook RECIPE=arc2-rehearsal TRM_DIR="$small/work" "$(type -P unshare)" --mount bash -c \
    "$(type -P mount) -t tmpfs -o size=3m none \"\$1\" && exec steps/04-dataset.sh" - "$small"
  [[ $status == 3 || $status == 5 ]] || fail "$(shown 'expected 3 or 5')"
  refute_output Traceback
  assert_output --partial 'full'
}

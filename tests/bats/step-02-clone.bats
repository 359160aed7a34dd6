#!/usr/bin/env bats
# Step 2: upstream at the pin, whole or not there; somebody's own clone is looked at, never changed.

load helper
setup() {
  make_runbook "$BATS_TEST_TMPDIR"
  UPSTREAM=$RUNBOOK/upstream/TinyRecursiveModels
  answer : 'sleep *'
}

@test "step 2 fetches the pinned commit and nothing else (deviations D-02, D-03)" {
  in_runbook steps/02-clone.sh
  assert_success
  assert_equal "$(git -C "$UPSTREAM" rev-parse HEAD)" "$STANDIN_COMMIT"
  assert_equal "$(git -C "$UPSTREAM" rev-list --all HEAD | wc -l)" 1
  assert_equal "$(git -C "$UPSTREAM" for-each-ref)" ''
  assert_equal "$(<.repro/trm_commit.txt)" "$(git -C "$UPSTREAM" rev-parse --short HEAD)"
  refute_file "$UPSTREAM.part"
}

@test "step 2 works again offline once upstream is there" {
  in_runbook steps/02-clone.sh
  in_runbook TRM_REMOTE=/nowhere steps/02-clone.sh --force
  assert_success
  refute_output 'fetch'
}

@test "step 2 tries four times, waits longer each time, and says what to do" {
  in_runbook TRM_REMOTE=/nowhere steps/02-clone.sh
  assert_failure 5
  assert_equal "$(grep -c '^sleep' "$STUBS/calls")" 3
  assert_equal "$(grep '^sleep' "$STUBS/calls" | tr '\n' ' ')" 'sleep 2 sleep 8 sleep 32 '
  assert_output --partial 'could not be fetched from /nowhere'
  assert_output --partial 'set TRM_REMOTE to a local copy'
  assert_equal "$(ls -A "$UPSTREAM")" ''
}

@test "step 2 survives a network that comes back" {
  answer "ln -s $STANDIN $BATS_TEST_TMPDIR/late.git" 'sleep 8'
  in_runbook TRM_REMOTE="$BATS_TEST_TMPDIR/late.git" steps/02-clone.sh
  assert_success
  assert_equal "$(git -C "$UPSTREAM" rev-parse HEAD)" "$STANDIN_COMMIT"
}

@test "step 2 refuses a remote that does not have the pinned commit" {
  git -c init.defaultBranch=main init --quiet --bare "$BATS_TEST_TMPDIR/other.git"
  in_runbook TRM_REMOTE="$BATS_TEST_TMPDIR/other.git" steps/02-clone.sh
  assert_failure 5
  assert_equal "$(ls -A "$UPSTREAM")" ''
}

@test "step 2 leaves a folder alone that is not a clone" {
  echo mine >"$UPSTREAM/notes.txt"
  in_runbook steps/02-clone.sh
  assert_failure 4
  assert_output --partial 'is not a clone'
  assert_equal "$(<"$UPSTREAM/notes.txt")" mine
}

@test "step 2 starts over after an attempt that was killed in the middle" {
  git init --quiet "$UPSTREAM.part"
  echo half >"$UPSTREAM.part/pretrain.py"
  in_runbook steps/02-clone.sh
  assert_success
  refute_file "$UPSTREAM.part"
}

@test "step 2 accepts somebody's own clone at the pin, with its branches, and does not change it" {
  local own=$BATS_TEST_TMPDIR/own
  git clone --quiet "$STANDIN" "$own"
  git -C "$own" checkout --quiet -b work "$STANDIN_COMMIT"
  in_runbook TRM_DIR="$own" TRM_REMOTE=/nowhere steps/02-clone.sh
  assert_success
  assert_equal "$(git -C "$own" rev-parse --abbrev-ref HEAD)" work
  echo '# mine' >>"$own/pretrain.py"
  in_runbook TRM_DIR="$own" steps/02-clone.sh
  assert_broken G-UPSTREAM-UNMODIFIED 4
  assert_equal "$(tail -n 1 "$own/pretrain.py")" '# mine'
}

@test "step 2 keeps upstream's bytes whatever the user's git does to line ends" {
  printf '[core]\n\tautocrlf = true\n' >"$HOME_OF_TEST/.gitconfig"
  in_runbook steps/02-clone.sh
  assert_success
  assert_equal "$(grep -c $'\r' "$UPSTREAM/pretrain.py")" 0
}

@test "step 2 in a dry run shows its commands and leaves no trace" {
  in_runbook steps/02-clone.sh --dry-run
  assert_success
  assert_output --partial "fetch --quiet --depth 1 --no-tags origin $STANDIN_COMMIT"
  assert_equal "$(ls -A "$UPSTREAM")" ''
  refute_file .repro
}

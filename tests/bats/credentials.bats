#!/usr/bin/env bats
# A user and a password in TRM_REMOTE reach a real git server, and nothing else: no log, no record, no command line.

load helper

SECRET='s3cret/of ada'
ENCODED='s3cret%2Fof%20ada'
setup() {
  make_runbook "$BATS_TEST_TMPDIR"
  UPSTREAM=$RUNBOOK/upstream/TinyRecursiveModels
  answer : 'sleep *'
}

# git_server: at ADDRESS (host:port/path), for USER ada.
git_server() {
  mkdir "$BATS_TEST_TMPDIR/server"
  # the server's own command line holds the password
  "$STANDIN_PYTHON" "$REPO/tests/bats/git_server.py" "$STANDIN" ada "$SECRET" "$BATS_TEST_TMPDIR/server" 3>&- 4>&- &
  wait_for "$BATS_TEST_TMPDIR/server/port"
  ADDRESS=127.0.0.1:$(<"$BATS_TEST_TMPDIR/server/port")/${STANDIN##*/}
}

# nowhere TEXT: neither said, nor anywhere in the runbook or HOME.
nowhere() {
  refute_output "$1"
  run grep -rliF -- "$1" "$RUNBOOK" "$HOME_OF_TEST"
  assert_equal "$output" ''
}

@test "a password in TRM_REMOTE fetches upstream, and is neither shown nor stored, nor in the process list" {
  git_server
  printf '[credential]\n\thelper = store\n' >"$HOME_OF_TEST/.gitconfig"
  in_runbook TRM_REMOTE="http://ada:$ENCODED@$ADDRESS" steps/02-clone.sh
  assert_success
  assert_equal "$(git -C "$UPSTREAM" rev-parse HEAD)" "$STANDIN_COMMIT"
  [[ -s $BATS_TEST_TMPDIR/server/admitted ]] || fail 'the server was not asked for a password'
  assert_equal "$(cat "$BATS_TEST_TMPDIR"/server/seen 2>/dev/null)" ''
  assert_equal "$(git -C "$UPSTREAM" remote get-url origin)" "http://$ADDRESS"
  nowhere "$ENCODED"
  nowhere "$SECRET"
}

@test "a wrong password fails at once, without a question, and is not shown" {
  git_server
  in_runbook TRM_REMOTE="http://ada:wr0ng@$ADDRESS" steps/02-clone.sh </dev/null
  assert_failure 5
  assert_output --partial "could not be fetched from http://$ADDRESS"
  nowhere wr0ng
}

@test "what shows knobs masks a password in an address" {
  local knob
  for knob in TRM_REMOTE KAGGLE_DS_DIR EXTRA_TRAIN_ARGS; do
    in_runbook "$knob=https://ada:$ENCODED@example.invalid/x" make env
    assert_output --partial 'https://********@example.invalid/x'
    refute_output "$ENCODED"
  done
  in_runbook TRM_REMOTE="ada:s3cret@example.invalid/x" make env
  refute_output s3cret
  in_runbook TRM_REMOTE="https://ada:s3cret/x@example.invalid" make env
  refute_output s3cret
  in_runbook TRM_REMOTE="https://ada:s3cret/x@example.invalid" steps/02-clone.sh
  assert_failure 2
  nowhere s3cret
}

@test "another server that git is sent to is told nothing" {
  export TRM_REMOTE="https://ada:$ENCODED@example.invalid/x"
  run lib/askpass.sh "Password for 'https://ada@example.invalid': "
  assert_output "$SECRET"
  run lib/askpass.sh "Username for 'https://example.invalid': "
  assert_output ada
  for place in https://evil.invalid http://example.invalid https://example.invalid.evil https://example.invalid:8; do
    run lib/askpass.sh "Password for '${place/:\/\//:\/\/ada@}': "
    assert_failure 1
    assert_output ''
    run lib/askpass.sh "Username for '$place': "
    assert_failure 1
  done
}

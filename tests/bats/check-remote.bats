#!/usr/bin/env bats
# CHECK_REMOTE=1: step 1 signs in where the run will have to. Here every server is behind a proxy that is not there.

load helper
setup() {
  make_runbook "$BATS_TEST_TMPDIR"
  mkdir -p "$HOME_OF_TEST/.kaggle"
  echo '{"username": "somebody", "key": "0123456789abcdef"}' >"$HOME_OF_TEST/.kaggle/kaggle.json"
  chmod 600 "$HOME_OF_TEST/.kaggle/kaggle.json"
  OFFLINE=(HTTPS_PROXY=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9 PUBLISH_TO_KAGGLE=1 KAGGLE_USERNAME=somebody)
}

@test "without CHECK_REMOTE credentials are looked at, and nobody is asked" {
  in_runbook "${OFFLINE[@]}" steps/01-sanity.sh
  assert_success
}

# bats test_tags=deep
@test "with CHECK_REMOTE=1 credentials must be accepted, and the clock is compared where a server answers" {
  in_runbook "${OFFLINE[@]}" CHECK_REMOTE=1 steps/01-sanity.sh
  assert_broken G-KAGGLE-CREDENTIALS 3
  refute_output 0123456789abcdef
  assert_output --partial 'server could be asked'
  assert_output --partial 'problem  network: Kaggle at https://www.kaggle.com/ through the proxy'
}

#!/usr/bin/env bats
# G-KAGGLE-CREDENTIALS: whoever uploads the run is known and can; nothing overrides it.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

# kaggle_json MODE: the credentials of somebody.
kaggle_json() {
  mkdir -p "$HOME_OF_TEST/.kaggle"
  echo '{"username": "somebody", "key": "0123456789abcdef"}' >"$HOME_OF_TEST/.kaggle/kaggle.json"
  chmod "$1" "$HOME_OF_TEST/.kaggle/kaggle.json"
}

@test "G-KAGGLE-CREDENTIALS holds for a private kaggle.json of KAGGLE_USERNAME" {
  kaggle_json 600
  try_guard G-KAGGLE-CREDENTIALS PUBLISH_TO_KAGGLE=1 KAGGLE_USERNAME=somebody
  assert_holds G-KAGGLE-CREDENTIALS
}

@test "G-KAGGLE-CREDENTIALS holds without any where nothing is uploaded" {
  try_guard G-KAGGLE-CREDENTIALS PUBLISH_TO_KAGGLE=0
  assert_holds G-KAGGLE-CREDENTIALS
}

@test "G-KAGGLE-CREDENTIALS is broken where there are none" {
  try_guard G-KAGGLE-CREDENTIALS PUBLISH_TO_KAGGLE=1 KAGGLE_USERNAME=somebody
  assert_broken G-KAGGLE-CREDENTIALS
  assert_output --partial 'PUBLISH_TO_KAGGLE=0'
}

@test "G-KAGGLE-CREDENTIALS is broken by a kaggle.json that others can read" {
  kaggle_json 644
  try_guard G-KAGGLE-CREDENTIALS PUBLISH_TO_KAGGLE=1 KAGGLE_USERNAME=somebody
  assert_broken G-KAGGLE-CREDENTIALS
  assert_output --partial 'mode is 644'
  refute_output 0123456789abcdef
}

@test "G-KAGGLE-CREDENTIALS is broken by somebody else's, and without a KAGGLE_USERNAME" {
  kaggle_json 600
  try_guard G-KAGGLE-CREDENTIALS PUBLISH_TO_KAGGLE=1 KAGGLE_USERNAME=other
  assert_broken G-KAGGLE-CREDENTIALS
  try_guard G-KAGGLE-CREDENTIALS PUBLISH_TO_KAGGLE=1 KAGGLE_API_TOKEN=0123456789abcdef
  assert_broken G-KAGGLE-CREDENTIALS
  assert_output --partial 'KAGGLE_USERNAME is not set'
}

@test "G-KAGGLE-CREDENTIALS cannot be overridden" {
  try_guard G-KAGGLE-CREDENTIALS PUBLISH_TO_KAGGLE=1 OVERRIDE=G-KAGGLE-CREDENTIALS
  assert_broken G-KAGGLE-CREDENTIALS
}

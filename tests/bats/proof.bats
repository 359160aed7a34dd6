#!/usr/bin/env bats
# What a stranger types: make verify, make report, make attestations.

load helper
setup() {
  make_runbook "$BATS_TEST_TMPDIR"
  cp -r "$REPO/tests/golden/bundles/v1" bundle
}

@test "make verify says of a bundle that it is consistent, wherever it lies, and that nobody vouches for it" {
  mv bundle "$BATS_TEST_TMPDIR/a copy"
  in_runbook make verify BUNDLE="$BATS_TEST_TMPDIR/a copy"
  assert_success
  assert_output --partial 'CONSISTENT, vouched for by nobody: 12 checks'
}

@test "make verify says ALTERED, names the file, and fails, after one byte" {
  printf 'x' | dd of=bundle/model.ckpt bs=1 seek=1000 conv=notrunc status=none
  in_runbook make verify BUNDLE=bundle
  assert_failure 2 # make's own code; the tool's is in its message
  assert_output --partial 'different: model.ckpt: SHA256SUMS expects sha256'
  assert_output --partial 'ALTERED: 1 finding'
  assert_output --partial 'Error 1'
}

@test "make verify says CANNOT TELL of a run that is not packaged" {
  in_runbook make verify RECIPE=arc2-paper
  assert_failure 2 # make's own code; the tool's is in its message
  assert_output --partial '==> not packaged yet: step 7 of the run does it'
  assert_output --partial 'CANNOT TELL'
  assert_output --partial 'Error 3'
}

@test "make report of a run that stopped after step 1" {
  clean_environment steps/01-sanity.sh >/dev/null 2>&1
  in_runbook make report
  assert_success
  assert_in_file 'Unfinished: it has stopped' artifacts/trm_arc2_paper_repro/report.md
  assert_in_file 'There is no score yet' artifacts/trm_arc2_paper_repro/report.html
}

@test "make attestations writes the table that the README of their folder has" {
  local before
  cp -r "$REPO/attestations" .
  before=$(sha256sum attestations/README.md)
  in_runbook make attestations
  assert_success
  assert_equal "$(sha256sum attestations/README.md)" "$before"
}

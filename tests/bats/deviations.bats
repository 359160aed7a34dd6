#!/usr/bin/env bats
# docs/deviations.md: every entry is whole, and the test that it names is there.

load helper
LIST=$BATS_TEST_DIRNAME/../../docs/deviations.md

# entries: "D-NN FILE" for each entry of the list.
entries() {
  awk '/^## D-/ {id = $2} /^Applies to: / {applies[id] = 1} /^Seed/ {seed[id] = 1} {
    while (match($0, /`tests\/[^`]+`/)) {
      print id, substr($0, RSTART + 1, RLENGTH - 2)
      $0 = substr($0, RSTART + RLENGTH)
    }
  }' "$LIST"
}

@test "every deviation is numbered in order, says whom it concerns, and names a test" {
  local n=0 id
  while read -r id; do
    n=$((n + 1))
    assert_equal "$id" "$(printf 'D-%02d' "$n")"
    sed -n "/^## $id /,/^## /p" "$LIST" | grep -q '^Applies to: ' || fail "$id does not say whom it concerns"
    entries | grep -q "^$id " || fail "$id names no test"
  done < <(sed -n 's/^## \(D-[0-9]*\) .*/\1/p' "$LIST")
  ((n > 0))
}

@test "the test that a deviation names is there; one in bash carries its number" {
  local id file
  while read -r id file; do
    assert_file "$REPO/$file"
    [[ $file != *.bats ]] || grep -q "^@test.*\b$id\b" "$REPO/$file" || fail "no test in $file carries $id"
  done < <(entries)
}

@test "paths are the repository's, wherever a step is called from and wherever TRM_DIR lies (D-01)" {
  make_runbook "$BATS_TEST_TMPDIR"
  mkdir "$BATS_TEST_TMPDIR/elsewhere" "$BATS_TEST_TMPDIR/disk"
  cd "$BATS_TEST_TMPDIR/elsewhere"
  in_runbook TRM_DIR="$BATS_TEST_TMPDIR/disk/trm" "$RUNBOOK/steps/02-clone.sh"
  assert_success
  assert_file "$RUNBOOK/.repro/trm_commit.txt"
  assert_file "$BATS_TEST_TMPDIR/disk/trm/pretrain.py"
  assert_equal "$(ls -A)" ''
}

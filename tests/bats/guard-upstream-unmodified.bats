#!/usr/bin/env bats
# G-UPSTREAM-UNMODIFIED: every tracked file of upstream is, byte for byte, the pinned one.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR" && clone_upstream; }

@test "G-UPSTREAM-UNMODIFIED holds for touched files and without an index" {
  touch "$UPSTREAM"/*.py
  rm "$UPSTREAM/.git/index"
  try_guard G-UPSTREAM-UNMODIFIED
  assert_holds G-UPSTREAM-UNMODIFIED
}

@test "G-UPSTREAM-UNMODIFIED is broken by one changed byte, of the same length and time" {
  touch -r "$UPSTREAM/pretrain.py" "$BATS_TEST_TMPDIR/then"
  sed -i 's/10000/10001/' "$UPSTREAM/pretrain.py"
  touch -r "$BATS_TEST_TMPDIR/then" "$UPSTREAM/pretrain.py"
  try_guard G-UPSTREAM-UNMODIFIED
  assert_broken G-UPSTREAM-UNMODIFIED
  assert_output --partial 'pretrain.py'
  refute_output LICENSE
}

@test "G-UPSTREAM-UNMODIFIED is broken by a file that is gone or has become a link" {
  rm "$UPSTREAM/LICENSE"
  mv "$UPSTREAM/requirements.txt" "$BATS_TEST_TMPDIR" && ln -s "$BATS_TEST_TMPDIR/requirements.txt" "$UPSTREAM"
  try_guard G-UPSTREAM-UNMODIFIED
  assert_broken G-UPSTREAM-UNMODIFIED
  assert_output --partial 'differ from the pin: LICENSE, requirements.txt'
}

@test "G-UPSTREAM-UNMODIFIED is broken by changes that git was told not to see" {
  echo '# changed' >>"$UPSTREAM/pretrain.py"
  echo '# changed' >>"$UPSTREAM/models/trm.py"
  git -C "$UPSTREAM" update-index --assume-unchanged pretrain.py
  git -C "$UPSTREAM" update-index --skip-worktree models/trm.py
  assert_equal "$(git -C "$UPSTREAM" status --short)" ''
  try_guard G-UPSTREAM-UNMODIFIED
  assert_broken G-UPSTREAM-UNMODIFIED
  assert_output --partial 'models/trm.py, pretrain.py'
}

@test "G-UPSTREAM-UNMODIFIED is broken by a sparse checkout and by converted line ends" {
  git -C "$UPSTREAM" config core.sparseCheckout true
  echo '/*.py' >"$UPSTREAM/.git/info/sparse-checkout"
  rm -r "$UPSTREAM/models"
  git -C "$UPSTREAM" config core.autocrlf true
  sed -i 's/$/\r/' "$UPSTREAM/requirements.txt"
  try_guard G-UPSTREAM-UNMODIFIED
  assert_broken G-UPSTREAM-UNMODIFIED
  assert_output --partial 'models/losses.py, models/trm.py, requirements.txt'
}

@test "G-UPSTREAM-UNMODIFIED is broken by a change committed on top of the pin" {
  echo '# changed' >>"$UPSTREAM/pretrain.py"
  git -C "$UPSTREAM" -c user.name=t -c user.email=t@t commit --quiet --all --message changed
  try_guard G-UPSTREAM-PIN G-UPSTREAM-UNMODIFIED
  assert_broken G-UPSTREAM-UNMODIFIED
  assert_guard G-UPSTREAM-PIN broken
}

@test "G-UPSTREAM-UNMODIFIED can be overridden" {
  echo '# changed' >>"$UPSTREAM/pretrain.py"
  try_guard G-UPSTREAM-UNMODIFIED OVERRIDE=G-UPSTREAM-UNMODIFIED
  assert_overridden G-UPSTREAM-UNMODIFIED
  assert_in_file '# changed' "$UPSTREAM/pretrain.py"
}

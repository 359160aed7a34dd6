#!/usr/bin/env bats
# G-UPSTREAM-CONFIG: no program that a clone's own configuration names is ever run.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR" && clone_upstream && trap_is_set; }

# trap_is_set: TRAP is a program that leaves a mark.
trap_is_set() {
  MARK=$BATS_TEST_TMPDIR/was-run TRAP=$BATS_TEST_TMPDIR/trap
  printf '#!/bin/sh\ntouch %q\ncat\n' "$MARK" >"$TRAP" && chmod +x "$TRAP"
}

# not_run_by COMMAND…: it leaves no mark.
not_run_by() {
  in_runbook "$@"
  refute_file "$MARK"
}

@test "G-UPSTREAM-CONFIG holds for a clone as git makes it, and for what users set every day" {
  local name
  for name in user.name=me core.autocrlf=false url.elsewhere.insteadOf=there http.proxy=p branch.x.description=y; do
    git -C "$UPSTREAM" config "${name%%=*}" "${name#*=}"
  done
  try_guard G-UPSTREAM-CONFIG
  assert_holds G-UPSTREAM-CONFIG
}

# bats test_tags=deep
@test "G-UPSTREAM-CONFIG: nothing of the clone is run by a step, whatever its configuration names; all is told" {
  local name
  # what git itself runs when it looks at the files, writes an index or checks out
  git -C "$UPSTREAM" config core.fsmonitor "$TRAP"
  mkdir -p "$UPSTREAM/.git/hooks"
  for name in post-checkout post-index-change reference-transaction; do ln -s "$TRAP" "$UPSTREAM/.git/hooks/$name"; done
  echo '* filter=trap diff=trap' >"$UPSTREAM/.git/info/attributes"
  for name in filter.trap.clean filter.trap.smudge filter.trap.process diff.trap.textconv diff.trap.command \
    diff.external core.sshCommand core.pager core.editor core.askPass core.gitProxy credential.helper alias.ls-tree \
    gpg.program remote.origin.uploadpack submodule.x.update core.alternateRefsCommand uploadpack.packObjectsHook; do
    git -C "$UPSTREAM" config "$name" "$TRAP"
  done
  touch "$UPSTREAM"/*.py
  git -C "$UPSTREAM" -c core.fsmonitor="$TRAP" status >/dev/null 2>&1 || true
  assert_file "$MARK" # so much for what git does by itself
  rm "$MARK"
  not_run_by steps/02-clone.sh
  assert_broken G-UPSTREAM-CONFIG
  for name in core.fsmonitor filter.trap.process diff.trap.textconv diff.external core.sshcommand credential.helper \
    alias.ls-tree submodule.x.update; do
    assert_output --partial "$name"
  done
  not_run_by OVERRIDE=G-UPSTREAM-CONFIG steps/02-clone.sh
  assert_overridden G-UPSTREAM-CONFIG
  training_environment
  not_run_by OVERRIDE=G-UPSTREAM-CONFIG steps/03-venv.sh
  assert_success
  not_run_by OVERRIDE=G-UPSTREAM-CONFIG steps/04-dataset.sh
  assert_success
}

@test "G-UPSTREAM-CONFIG is broken by configuration in another file, of a work tree, and in a submodule to come" {
  git config --file "$BATS_TEST_TMPDIR/more" core.fsmonitor "$TRAP"
  git -C "$UPSTREAM" config include.path "$BATS_TEST_TMPDIR/more"
  not_run_by steps/02-clone.sh
  assert_broken G-UPSTREAM-CONFIG
  assert_output --partial include.path
  git -C "$UPSTREAM" config --unset include.path
  git -C "$UPSTREAM" config extensions.worktreeConfig true
  git -C "$UPSTREAM" config --worktree core.fsmonitor "$TRAP"
  not_run_by steps/02-clone.sh
  assert_broken G-UPSTREAM-CONFIG
  rm "$UPSTREAM/.git/config.worktree"
  git init --quiet --bare "$UPSTREAM/.git/modules/external/x"
  ln -s "$TRAP" "$UPSTREAM/.git/modules/external/x/hooks/post-checkout"
  git config --file "$UPSTREAM/.git/modules/external/x/config" filter.trap.smudge "$TRAP"
  not_run_by steps/02-clone.sh
  assert_broken G-UPSTREAM-CONFIG
  assert_output --partial 'filter.trap.smudge hooks/post-checkout'
}

@test "a GIT_DIR of the user's leads nowhere" {
  git init --quiet "$BATS_TEST_TMPDIR/other"
  in_runbook GIT_DIR="$BATS_TEST_TMPDIR/other/.git" steps/02-clone.sh
  assert_success
  assert_equal "$(<.repro/trm_commit.txt)" "$(git -C "$UPSTREAM" rev-parse --short HEAD)"
}

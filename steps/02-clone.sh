#!/usr/bin/env bash
# Usage: steps/02-clone.sh [--help] [--dry-run] [--force]
# Summary: Bring upstream to TRM_DIR at the recipe's commit, unmodified.
# Reads: upstream's repository (TRM_REMOTE, or the recipe's URL); nothing if TRM_DIR is a clone already. A user and
#   password in TRM_REMOTE reach git through lib/askpass.sh: no command, no log and no configuration holds them.
# Writes: TRM_DIR, with those of upstream's submodules and links that the recipe names; .repro/trm_commit.txt.
# Guarantees: TRM_DIR is at the pinned commit and tree, every tracked file is the pinned one; a clone that
#   is there is never changed.
# Environment: TRM_DIR TRM_REMOTE
# Exit: 0 done or fresh · 4 TRM_DIR holds something else · 5 the fetch failed

source "$(dirname "${BASH_SOURCE[0]}")/../lib/prelude.bash"

main() {
  step_begin "$@"
  export GIT_ASKPASS=$REPRO_ROOT/lib/askpass.sh GIT_TERMINAL_PROMPT=0 # nothing waits for somebody to type
  if [[ -z $UPSTREAM_COMMIT ]]; then
    # the reference engine is this repository's own: its commit is the one that counts
    [[ -n $NO_GIT ]] || OUR_COMMIT=${OUR_COMMIT:0:7}
    dry || printf '%s\n' "$OUR_COMMIT" >.repro/trm_commit.txt
    step_done "engine $ENGINE: nothing to fetch; this repository is at $OUR_COMMIT" \
      .repro/trm_commit.txt
    return
  fi
  needs git
  [[ $UPSTREAM_LICENSE == MIT ]] || warn "license of $UPSTREAM_URL: $UPSTREAM_LICENSE"
  if upstream_is_cloned; then told_by_clone; else fetch_upstream; fi
  guard G-UPSTREAM-CONFIG
  guards_settle
  complete_upstream "$TRM_DIR"
  make_links
  guard G-UPSTREAM-PIN G-UPSTREAM-UNMODIFIED G-UPSTREAM-STRAYS
  guards_settle
  dry || git -C "$TRM_DIR" rev-parse --short HEAD >.repro/trm_commit.txt
  step_done "upstream at $UPSTREAM_COMMIT, unmodified" .repro/trm_commit.txt
}

# Fetches the one commit into a folder beside TRM_DIR and renames it, so that TRM_DIR is whole or not there. How it was
# made goes with it, for the runs that find it.
fetch_upstream() {
  local staging=$TRM_DIR.part remote=${TRM_REMOTE:-$UPSTREAM_URL} reset=()
  if [[ $remote =~ ^(https?://)[^/?#]*@(.*)$ ]]; then
    remote=${BASH_REMATCH[1]}${BASH_REMATCH[2]}
    reset=(-c credential.helper=) # no helper of the user's answers in its place, and none keeps it
  fi
  make_shared "$TRM_DIR"
  ! upstream_is_cloned || { told_by_clone && return; } # another run has made it in the meantime
  [[ ! -d $TRM_DIR || -z $(ls -A "$TRM_DIR") ]] ||
    die "$EXIT_INVARIANT" \
      "$TRM_DIR is there and is not a clone that git can read: $(git -C "$TRM_DIR" rev-parse HEAD 2>&1 | head -1)" \
      "move it away, or set TRM_DIR to another folder"
  dry || rm -rf "$staging"
  run git init --quiet "$staging"
  run git -C "$staging" remote add -- origin "$remote"
  patiently git -C "$staging" "${reset[@]}" fetch --quiet --depth 1 --no-tags origin "$UPSTREAM_COMMIT" ||
    die "$EXIT_COMMAND" "upstream's commit $UPSTREAM_COMMIT could not be fetched from $remote" \
      "check the network, or set TRM_REMOTE to a local copy; what was fetched before works without"
  run git -C "$staging" -c core.autocrlf=false -c advice.detachedHead=false \
    checkout --quiet --detach "$UPSTREAM_COMMIT"
  complete_upstream "$staging"
  ! dry || return 0
  grep -F "\"attempt\": \"$ATTEMPT\"" "$RUN_STATE/commands.jsonl" >"$staging/.git/$MADE"
  mv -T "$staging" "$TRM_DIR"
}

# The commands that made a clone that is there are this run's, too, where another run or a killed attempt made it.
MADE=trm-repro.commands.jsonl
told_by_clone() {
  ! dry && [[ -f $TRM_DIR/.git/$MADE ]] || return 0
  sed "s/\"attempt\": \"[^\"]*\"}\$/\"attempt\": \"$ATTEMPT\"}/" "$TRM_DIR/.git/$MADE" >>"$RUN_STATE/commands.jsonl"
}

# complete_upstream CLONE: upstream's own submodules, at the commits that its tree names.
complete_upstream() {
  local path cure="check the network, or let git take it from a local copy (git config url.COPY.insteadOf URL)"
  cure+="; what was fetched before works without"
  for path in "${UPSTREAM_SUBMODULES[@]}"; do
    [[ -e $1/$path/.git ]] ||
      patiently git -C "$1" submodule --quiet update --init --depth 1 -- "$path" ||
      die "$EXIT_COMMAND" "upstream's submodule $path could not be fetched" "$cure"
  done
}

# The links that upstream's documentation asks for.
make_links() {
  local link
  for link in "${UPSTREAM_LINKS[@]}"; do
    run ln -sfnT "${link#*=}" "$TRM_DIR/${link%%=*}"
  done
}

# patiently COMMAND…: runs it up to four times; a network that fails is given 2, 8 and 32 seconds to recover.
patiently() {
  local pause
  for pause in 2 8 32; do
    ! run "$@" || return 0
    note "once more in $pause s"
    sleep "$pause"
  done
  run "$@"
}

main "$@"

#!/usr/bin/env bash
# Usage: machines/onstart.sh [WORDS OF MAKE…]      (default: all)
# Summary: From a bare container to a run: system packages, this repository, make. For RunPod's "container start
#   command".
# Reads: the network. Secrets come from the environment or from files: for NAME of KAGGLE_API_TOKEN, HF_TOKEN,
#   WANDB_API_KEY and GITHUB_TOKEN, the file that NAME_FILE names counts where NAME is not set.
# Writes: WORKSPACE/trm-repro. Nothing of a secret, neither into a file nor into a URL or a command line.
# Guarantees: started again, it changes nothing that is in place and goes on where the stamps say.
# Environment: WORKSPACE (/workspace) REPRO_URL (of this repository, without a token) REPRO_REF (a commit, tag or
#   branch:
#   main) GIT_USER_NAME GIT_USER_EMAIL RECIPE and all other knobs of env.sh
# Exit: make's · 2 REPRO_URL is missing or holds a token · 3 packages are missing and only root can install them

set -euo pipefail

main() {
  local folder=${WORKSPACE:-/workspace}/trm-repro python
  secrets_from_files KAGGLE_API_TOKEN HF_TOKEN WANDB_API_KEY GITHUB_TOKEN
  git_there
  mkdir -p "${folder%/*}"
  repository "$folder"
  cd "$folder"
  unset GITHUB_TOKEN
  [[ -z ${GIT_USER_NAME-} ]] || git config user.name "$GIT_USER_NAME"
  [[ -z ${GIT_USER_EMAIL-} ]] || git config user.email "$GIT_USER_EMAIL"
  python=$(machines/packages.sh)
  (($#)) || set -- all
  exec make PYTHON="$python" "$@"
}

secrets_from_files() {
  local name file
  for name; do
    file=${name}_FILE
    [[ -n ${!name-} || -z ${!file-} ]] || printf -v "$name" '%s' "$(<"${!file}")"
    [[ -z ${!name-} ]] || export "${name?}"
  done
}

# What a bare image lacks before this repository is there; machines/packages.sh knows the rest.
git_there() {
  ! command -v git >/dev/null || return 0
  ((EUID == 0)) || { echo "error: git is missing, and only root can install it" >&2 && exit 3; }
  apt-get update --quiet=2
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends ca-certificates git
}

# repository FOLDER: clones it once; afterwards only moves it forward, and never over local changes.
repository() {
  if [[ ! -d $1/.git ]]; then
    [[ -n ${REPRO_URL-} ]] || refuse "REPRO_URL is not set: where is this repository to be cloned from?"
    [[ ! $REPRO_URL =~ ^https?://[^/]*@ ]] ||
      refuse "REPRO_URL holds a token, which git would write down: give it as GITHUB_TOKEN"
    rm -rf "$1.part"
    with_token git clone --quiet "$REPRO_URL" "$1.part"
    git -C "$1.part" -c advice.detachedHead=false checkout --quiet "${REPRO_REF:-main}"
    mv -T "$1.part" "$1"
  elif git -C "$1" symbolic-ref --quiet HEAD >/dev/null; then
    with_token git -C "$1" pull --quiet --ff-only ||
      echo "warning: could not move $1 forward; going on with $(git -C "$1" rev-parse --short HEAD)" >&2
  fi
}

refuse() {
  echo "error: $1" >&2
  exit 2
}

# with_token GIT…: git asks a program for the password, and the program answers from the environment. No prompt, ever.
with_token() {
  local ask code=0
  ask=$(mktemp)
  # shellcheck disable=SC2016
  printf '%s\n' '#!/bin/sh' 'case $1 in User*) echo x-access-token ;; *) printenv GITHUB_TOKEN ;; esac' >"$ask"
  chmod 700 "$ask"
  GIT_TERMINAL_PROMPT=0 GIT_ASKPASS=$ask "$@" || code=$?
  rm -f "$ask"
  return "$code"
}

main "$@"

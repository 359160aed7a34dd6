#!/usr/bin/env bash
# Usage: machines/onstart.sh [WORDS OF MAKE…]      (default: all)
# Summary: From a bare container to a run: system packages, this repository, make. For RunPod's "container start command".
# Reads: the network. Secrets come from the environment or from files: for NAME of KAGGLE_API_TOKEN, HF_TOKEN,
#   WANDB_API_KEY and GITHUB_TOKEN, the file that NAME_FILE names counts where NAME is not set.
# Writes: WORKSPACE/trm-repro. Nothing of a secret, neither into a file nor into a URL or a command line.
# Guarantees: started again, it changes nothing that is in place and goes on where the stamps say.
# Environment: WORKSPACE (/workspace) REPRO_URL (of this repository) REPRO_REF (a commit, tag or branch: main)
#   GIT_USER_NAME GIT_USER_EMAIL RECIPE and all other knobs of env.sh
# Exit: make's · 2 REPRO_URL is missing · 3 packages are missing and only root can install them

set -euo pipefail

main() {
  local folder=${WORKSPACE:-/workspace}/trm-repro
  secrets_from_files KAGGLE_API_TOKEN HF_TOKEN WANDB_API_KEY GITHUB_TOKEN
  system_packages
  mkdir -p "${folder%/*}"
  repository "$folder"
  cd "$folder"
  [[ -z ${GIT_USER_NAME-} ]] || git config user.name "$GIT_USER_NAME"
  [[ -z ${GIT_USER_EMAIL-} ]] || git config user.email "$GIT_USER_EMAIL"
  rm -f "${GIT_ASKPASS-}"
  unset GITHUB_TOKEN GIT_ASKPASS
  (($#)) || set -- all
  exec make PYTHON=python3.11 "$@"
}

secrets_from_files() {
  local name file
  for name; do
    file=${name}_FILE
    [[ -n ${!name-} || -z ${!file-} ]] || printf -v "$name" '%s' "$(<"${!file}")"
    [[ -z ${!name-} ]] || export "${name?}"
  done
}

# Ubuntu 22.04 and Debian 12 call them so; what is there is left alone.
system_packages() {
  local wanted=() name
  for name in git make g++ python3.10 python3.11; do
    command -v "$name" >/dev/null || wanted+=("$name")
  done
  ((${#wanted[@]})) || return 0
  ((EUID == 0)) || { echo "error: missing: ${wanted[*]}; only root can install them" >&2 && exit 3; }
  export DEBIAN_FRONTEND=noninteractive
  apt-get update --quiet=2
  apt-get install --yes --quiet=2 --no-install-recommends ca-certificates git make g++ procps \
    python3.10 python3.10-dev python3.10-venv python3.11 python3.11-dev python3.11-venv
}

# repository FOLDER: clones it once; afterwards only moves it forward, and never over local changes.
repository() {
  if [[ -n ${GITHUB_TOKEN-} ]]; then
    GIT_ASKPASS=$(mktemp)
    export GIT_ASKPASS GITHUB_TOKEN
    # git asks this for the password; the token stays in the environment
    # shellcheck disable=SC2016
    printf '%s\n' '#!/bin/sh' 'case $1 in User*) echo x-access-token ;; *) printenv GITHUB_TOKEN ;; esac' >"$GIT_ASKPASS"
    chmod 700 "$GIT_ASKPASS"
  fi
  if [[ ! -d $1/.git ]]; then
    [[ -n ${REPRO_URL-} ]] || { echo "error: REPRO_URL is not set: where is this repository to be cloned from?" >&2 && exit 2; }
    rm -rf "$1.part"
    git clone --quiet "$REPRO_URL" "$1.part"
    git -C "$1.part" -c advice.detachedHead=false checkout --quiet "${REPRO_REF:-main}"
    mv -T "$1.part" "$1"
  elif git -C "$1" symbolic-ref --quiet HEAD >/dev/null; then
    git -C "$1" pull --quiet --ff-only || echo "warning: could not move $1 forward; going on with $(git -C "$1" rev-parse --short HEAD)" >&2
  fi
}

main "$@"

#!/usr/bin/env bash
# Usage: [TRM_REMOTE=…] tests/environment.sh [LOCK]
# Summary: Steps 2 and 3 for real: a training environment from locks/LOCK.txt (cu130), and all that its upstream
#   imports.
# Reads: upstream (TRM_REMOTE, or its URL); PY; the package registry.
# Writes: a throw-away folder below .repro/, deleted at the end (KEEP=1 keeps it).
# Guarantees: the environment is the lock, no more and no less; everything that upstream imports can be imported.
# Exit: 0 so it is · not 0 otherwise

set -euo pipefail
cd "$(dirname "$0")/.."
work=$PWD/.repro/test-env-${1:-cu130}

main() {
  local family
  IFS=- read -r CUDA_LOCK family <<<"${1:-cu130}"
  RECIPE=$(basename "$(grep -l "^base: ${family:-samsung}" recipes/*.yaml | head -1)" .yaml)
  rm -rf "$work"
  mkdir -p "$work/runbook/.venv"
  [[ -n ${KEEP-} ]] || trap 'rm -rf "$work"' EXIT
  trap 'exit 130' INT TERM
  cp -R Makefile env.sh lib steps recipes locks "$work/runbook"
  ln -s "$PWD/.venv/bin" "$work/runbook/.venv/bin"
  cd "$work/runbook"
  export TRM_DIR=$work/trm VENV_DIR=$work/venv RUN_NAME=test_env PUBLISH_TO_KAGGLE=0 KNOBS_WITHOUT_LOCAL=1
  export CUDA_LOCK RECIPE
  steps/02-clone.sh
  SECONDS=0
  steps/03-venv.sh
  printf '%s seconds, %s on the disk\n' "$SECONDS" "$(du -sh "$VENV_DIR" | cut -f1)"
  cat .repro/env_*.txt
}

main "$@"

#!/usr/bin/env bash
# Usage: steps/03-venv.sh [--help] [--dry-run] [--force]
# Summary: Make the environment that builds the dataset and trains, and write down what is in it.
# Reads: locks/, upstream's requirements.txt and imports; the package registry.
# Writes: VENV_DIR and its voucher, .repro/env_${TARGET_DATASET}_${RUN_NAME}.txt and, with the digest of every file,
#   .json.
# Guarantees: every package is the locked one, by digest, and no file is there that none of them brought; all that
#   upstream imports can be imported, adam-atan2's CUDA part too; torch sees every GPU.
# Environment: TARGET_DATASET RUN_NAME TRM_DIR PY USE_VENV VENV_DIR ENV_LOCK CUDA_LOCK TORCH_INDEX_URL
# Exit: 0 done or fresh · 3 no lock fits this machine · 4 not what the lock says, or wrong Python ·
#   5 an installation failed

source "$(dirname "${BASH_SOURCE[0]}")/../lib/prelude.bash"

main() {
  local listing=.repro/env_${TARGET_DATASET}_${RUN_NAME}.txt outputs locked
  step_begin "$@"
  guard G-PYTHON
  guards_settle
  [[ -z $VOUCHER ]] || make_shared "$VENV_DIR"
  if vouched; then
    note "$(short "$VENV_DIR") is what its voucher vouches for, byte for byte: taken as it is"
    use_environment
  else
    if [[ $ENVIRONMENT == tool ]]; then use_environment; else make_environment; fi
    [[ -z $UPSTREAM_COMMIT ]] || try_imports
  fi
  ! dry || return 0
  describe_environment >"$listing.part"
  mv "$listing.part" "$listing"
  outputs=("$listing" "${LOCKS[@]}") # a changed lock makes this step stale
  if [[ $ENVIRONMENT == training ]]; then
    outputs+=("${listing%.txt}.json")
    locked=("${LOCKS[@]}")
    [[ $USE_VENV == 1 ]] || locked=() # what else is in an environment of somebody's own is not our business
    ENVIRONMENT_FOUND=$(repro step check-environment "${listing%.txt}.json" "${locked[@]}") || exit
    guard G-ENVIRONMENT-FILES
    guards_settle
    rm -f "$VENV_DIR.begun"
  fi
  note "$(grep -E '^(Python|torch:|cuda_available:)' "$listing" | tr '\n' ' ')"
  step_done "environment $ENVIRONMENT${LOCKS:+ (${LOCKS[*]##*/})}, written down in $listing" "${outputs[@]}"
}

make_environment() {
  not_in_use "$VENV_DIR"
  dry || [[ -z $VOUCHER ]] || rm -f "$VOUCHER"
  if [[ $USE_VENV == 1 ]]; then
    dry || from_nothing
    run "$PY" -m venv "$VENV_DIR" || install_failed "the virtual environment could not be made"
  fi
  use_environment
  if [[ $ENV_LOCK == locks ]]; then install_locked; else install_unlocked; fi
}

# An environment that a killed attempt had begun is made from nothing: what is ours from its first file on is marked.
from_nothing() {
  local mark=$VENV_DIR.begun
  if [[ -e $mark ]]; then
    warn "$(short "$VENV_DIR") was begun by an attempt that did not finish: it is made again"
    rm -rf -- "$VENV_DIR"
    ENVIRONMENT_STATE=new
  fi
  [[ -e $VENV_DIR ]] || { mkdir -p "$(dirname "$VENV_DIR")" && : >"$mark"; }
}

main "$@"

#!/usr/bin/env bash
# Usage: steps/03-venv.sh [--help] [--dry-run] [--force]
# Summary: Make the environment that builds the dataset and trains, and write down what is in it.
# Reads: locks/, upstream's requirements.txt and imports; the package registry.
# Writes: VENV_DIR, .repro/env_${TARGET_DATASET}_${RUN_NAME}.txt and, every distribution with its digest, .json.
# Guarantees: every package is the locked one, by digest; all that upstream imports can be imported, adam-atan2's CUDA part too; torch sees every GPU.
# Environment: TARGET_DATASET RUN_NAME TRM_DIR PY USE_VENV VENV_DIR ENV_LOCK CUDA_LOCK TORCH_INDEX_URL
# Exit: 0 done or fresh · 3 no lock fits this machine · 4 not what the lock says, or wrong Python · 5 an installation failed

source "$(dirname "${BASH_SOURCE[0]}")/../lib/prelude.bash"

main() {
  local listing=.repro/env_${TARGET_DATASET}_${RUN_NAME}.txt inventory='' locks=()
  step_begin "$@"
  guard G-PYTHON
  guards_settle
  if [[ $ENVIRONMENT == training ]]; then
    if [[ $USE_VENV == 1 ]]; then
      run "$PY" -m venv "$VENV_DIR" || failed "the virtual environment could not be made"
    fi
    use_environment
    case $ENV_LOCK in
      locks) install_locked ;;
      none) install_unlocked ;;
      *) die "$EXIT_USAGE" "ENV_LOCK is '$ENV_LOCK'" "use locks or none" ;;
    esac
    try_imports
  else
    use_environment
  fi
  ((! DRY_RUN)) || return 0
  describe_environment >"$listing.part"
  mv "$listing.part" "$listing"
  if [[ $ENVIRONMENT == training ]]; then
    inventory=${listing%.txt}.json
    python "$(repro environment inventory)" >"$inventory"
  fi
  note "$(grep -E '^(Python|torch:|cuda_available:)' "$listing" | tr '\n' ' ')"
  # the locks are named beside the listing, so that a changed lock makes this step stale
  step_done "environment $ENVIRONMENT${locks:+ (${locks[*]##*/})}, written down in $listing" "$listing" ${inventory:+"$inventory"} "${locks[@]}"
}

# What the lock for this machine's driver says, adam-atan2 last: its build sees the torch that is installed (deviation D-04).
install_locked() {
  local chosen
  chosen=$(repro environment choose) || exit
  # shellcheck source=/dev/null
  source /dev/stdin <<<"$chosen" # LOCKS LOCK_WHY LOCK_CUDA_HOME LOCK_ARCHITECTURES LOCK_NVCC_FLAGS
  # shellcheck disable=SC2153
  locks=("${LOCKS[@]}")
  note "${locks[*]}: $LOCK_WHY; GPUs of compute capability $LOCK_ARCHITECTURES"
  run pip install --require-hashes --no-deps -r "${locks[0]}" || failed "the locked packages could not be installed"
  ((${#locks[@]} == 1 && ! ENVIRONMENT_COMPILER)) || cuda_compiler
  if ((${#locks[@]} > 1)); then
    export TORCH_CUDA_ARCH_LIST=$LOCK_ARCHITECTURES NVCC_APPEND_FLAGS=$LOCK_NVCC_FLAGS
    run pip install --require-hashes --no-deps --no-build-isolation --no-cache-dir --force-reinstall -r "${locks[1]}" ||
      failed "adam-atan2 could not be built" "it needs a C++ compiler and Python's headers (Debian: g++ python3.10-dev)"
  fi
  if ((ENVIRONMENT_EDITABLE)); then
    run pip install --no-deps --no-index --no-build-isolation --editable "$TRM_DIR" || failed "upstream's package could not be installed"
  elif [[ ! -d $TRM_DIR || -f $TRM_DIR/requirements.txt ]]; then
    run pip install --no-deps --no-index -r "$TRM_DIR/requirements.txt" ||
      failed "the lock does not satisfy upstream's requirements.txt" "see above for what is missing"
  fi
  ((DRY_RUN)) || [[ $USE_VENV != 1 ]] || pip list --format=freeze --exclude-editable | repro environment check "${locks[@]}"
}

# Seed 000, step 3, in the order that works: torch, then adam-atan2 against that torch, then the rest (deviation D-04).
install_unlocked() {
  ((ENVIRONMENT_UNLOCKED)) ||
    die "$EXIT_USAGE" "ENV_LOCK=none: without a lock, no commands are known that make the environment of $RECIPE" "leave ENV_LOCK at locks"
  run pip install --upgrade pip wheel setuptools || failed "pip could not be upgraded"
  run pip install --pre --upgrade torch torchvision torchaudio --index-url "$TORCH_INDEX_URL" ||
    failed "torch could not be installed" "choose the TORCH_INDEX_URL for your CUDA"
  run pip install ninja packaging setuptools-scm || failed "what builds adam-atan2 could not be installed"
  run pip install --no-cache-dir --no-build-isolation adam-atan2 ||
    failed "adam-atan2 could not be built" "it needs nvcc of torch's CUDA major version"
  run pip install -r "$TRM_DIR/requirements.txt" || failed "upstream's requirements could not be installed"
}

# What would otherwise fail in the first minutes of the training, or at its first evaluation, fails here.
try_imports() {
  local listed='' modules words='import torch' name
  ((DRY_RUN)) || listed=$(repro environment imports "$TRM_DIR/$WORK") || exit
  read -ra modules <<<"${listed//$'\n'/ }"
  for name in "${modules[@]}" "${ENVIRONMENT_IMPORTS[@]}"; do [[ ", ${words#import }, " == *", $name, "* ]] || words+=", $name"; done
  run python -c "$words" ||
    failed "not all that upstream imports can be imported" "adam_atan2_backend is adam-atan2's CUDA part: it needs an nvcc of torch's CUDA version when it is installed"
  [[ $NEEDS_GPU == 1 ]] && (($(gpu_count) > 0)) || return 0
  run python -c "import torch; found = torch.cuda.device_count(); assert found >= $PROCESSES, f'torch sees {found} GPUs'" ||
    failed "torch does not see the GPUs" "the driver is too old for this torch's CUDA, or CUDA_VISIBLE_DEVICES hides them"
}

failed() { die "$EXIT_COMMAND" "$1" "${2:-the log says why; this step can be run again}"; }

# Seed 000's listing, and below it which locks were installed.
describe_environment() {
  python -V
  pip list --exclude-editable
  python -c 'import torch; print("torch:", torch.__version__); print("cuda_available:", torch.cuda.is_available())'
  [[ $ENVIRONMENT != training ]] || printf 'lock: %s\n' "$ENV_LOCK"
  ((! ${#locks[@]})) || sha256sum "${locks[@]}"
}

main "$@"

#!/usr/bin/env bash
# Usage: steps/03-venv.sh [--help] [--dry-run] [--force]
# Summary: Make the environment that builds the dataset and trains, and write down what is in it.
# Reads: upstream's requirements.txt; the package indexes.
# Writes: VENV_DIR, .repro/env_${TARGET_DATASET}_${RUN_NAME}.txt.
# Guarantees: the interpreter is the one the recipe names; adam-atan2 is installed after torch and its CUDA part imports.
# Environment: TARGET_DATASET RUN_NAME TRM_DIR PY USE_VENV VENV_DIR TORCH_INDEX_URL
# Exit: 0 done or fresh · 4 wrong Python · 5 an installation failed

source "$(dirname "${BASH_SOURCE[0]}")/../lib/prelude.bash"

main() {
  local listing=.repro/env_${TARGET_DATASET}_${RUN_NAME}.txt
  step_begin "$@"
  guard G-PYTHON
  guards_settle
  if [[ $ENVIRONMENT == training ]]; then install_training_environment; fi
  use_environment
  ((! DRY_RUN)) || return 0
  describe_environment >"$listing.part"
  mv "$listing.part" "$listing"
  note "$(grep -E '^(Python|torch:|cuda_available:)' "$listing" | tr '\n' ' ')"
  step_done "environment $ENVIRONMENT, written down in $listing" "$listing"
}

# Seed 000, step 3, in the order that works: torch, then adam-atan2 against that torch, then the rest (deviation D-04).
install_training_environment() {
  if [[ $USE_VENV == 1 ]]; then
    run "$PY" -m venv "$VENV_DIR" || failed "the virtual environment could not be made"
  fi
  use_environment
  run pip install --upgrade pip wheel setuptools || failed "pip could not be upgraded"
  run pip install --pre --upgrade torch torchvision torchaudio --index-url "$TORCH_INDEX_URL" ||
    failed "torch could not be installed" "choose the TORCH_INDEX_URL for your CUDA"
  run pip install ninja packaging setuptools-scm || failed "what builds adam-atan2 could not be installed"
  run pip install --no-cache-dir --no-build-isolation adam-atan2 ||
    failed "adam-atan2 could not be built" "it needs nvcc of torch's CUDA major version"
  run pip install -r "$TRM_DIR/requirements.txt" || failed "upstream's requirements could not be installed"
  run python -c 'import torch, adam_atan2_backend' ||
    failed "adam-atan2 was installed without its CUDA part" "install the CUDA toolkit that matches torch, then step 3 again with --force"
}

failed() { die "$EXIT_COMMAND" "$1" "${2:-the log says why; this step can be run again}"; }

describe_environment() {
  python -V
  pip list --exclude-editable
  python -c 'import torch; print("torch:", torch.__version__); print("cuda_available:", torch.cuda.is_available())'
}

main "$@"

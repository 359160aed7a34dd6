# What the machine has: GPUs, and with them the number of training processes.
# shellcheck shell=bash

# The number of GPUs; 0 on a machine without nvidia-smi or without a driver.
gpu_count() {
  local listed
  listed=$(nvidia-smi -L 2>/dev/null) || listed=''
  grep -c '^GPU ' <<<"$listed" || true
}

# The number of processes when the recipe says "one a GPU": every GPU there is, MAX_GPUS_TO_USE at most, 1 at least.
process_count() {
  local gpus
  gpus=$(gpu_count)
  ((gpus > 0)) || gpus=$MAX_GPUS_TO_USE # a plan made on a machine without GPUs; G-GPUS keeps it from running
  printf '%s\n' "$((gpus < MAX_GPUS_TO_USE ? gpus : MAX_GPUS_TO_USE))"
}

# The Python version (such as 3.10) of an interpreter that really runs, or nothing. A pyenv shim can be found and fail.
python_version() {
  "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true
}

# use_environment [NAME]: the PATH on which programs are found: the tool environment, or the training environment first.
use_environment() {
  if [[ ${1-$ENVIRONMENT} == tool ]]; then
    PATH=$TOOL:$PATH
  elif [[ $USE_VENV == 1 ]]; then
    PATH=$VENV_DIR/bin:$PATH
  fi
  export PATH
}

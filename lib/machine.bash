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

# CUDA_HOME: where the CUDA compiler is that goes with the torch of this machine's lock. The lock's own lies beside torch's
# CUDA runtime; torch's extension builder looks for these two names there.
cuda_compiler() {
  local chosen
  chosen=$(repro environment choose) || exit
  # shellcheck source=/dev/null
  CUDA_HOME=$(source /dev/stdin <<<"$chosen" && printf %s "$LOCK_CUDA_HOME")
  if [[ -z $CUDA_HOME ]]; then
    CUDA_HOME=$VENV_DIR/lib/python$ENVIRONMENT_PYTHON/site-packages/nvidia/cu13
    [[ $USE_VENV == 1 ]] || CUDA_HOME=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/nvidia/cu13
    run ln -sfn lib "$CUDA_HOME/lib64"
    run ln -sfn libcudart.so.13 "$CUDA_HOME/lib/libcudart.so"
  fi
  export CUDA_HOME
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

# The two environments: the tool environment, which runs this package, and the training environment, and how it is made.
# shellcheck shell=bash

# use_environment [NAME]: the PATH on which programs are found: the tool environment, or the training environment first.
use_environment() {
  if [[ ${1-$ENVIRONMENT} == tool ]]; then
    PATH=$TOOL:$PATH
  elif [[ $USE_VENV == 1 ]]; then
    PATH=$VENV_DIR/bin:$PATH
  fi
  export PATH
}

# ---- the variables that reach the builder and the training ----

GIVEN=(PYTHONPATH) PASSED=() # a PYTHONPATH that is there then is a step's own: G-ENVIRONMENT refuses another

# give NAME=VALUE…: what the step itself sets for them.
give() {
  export "${@?}"
  GIVEN+=("${@%%=*}")
}

# choose_variables: sets PASSED to the names of all that reach them: those that are known (runs/records.py), those
# given, and where the user insists (OVERRIDE=G-ENVIRONMENT) those that the guard found. What else is set is told by
# name.
choose_variables() {
  local name held=() ours=" ${KNOBS[*]} SHLVL PWD OLDPWD _ GIT_TERMINAL_PROMPT "
  PASSED=()
  for name in $(compgen -e); do
    if [[ $name =~ $PASSING || " ${GIVEN[*]} $INSISTED_ON " == *" $name "* ]]; then
      PASSED+=("$name")
    elif [[ $ours != *" $name "* && ! $name =~ ^(TRM_REPRO|GIT_CONFIG)_ ]]; then
      held+=("$name")
    fi
  done
  ((! ${#held[@]})) || note "set, and held back from the command: ${held[*]}"
}

# supervised: sets RUN_UNDER to what runs the training and stays beside it. It sees to it that PASSED reaches the
# training; of those, what Python itself heeds does not reach the supervisor, which is Python, too.
supervised() {
  local name hidden=() passed=()
  for name in "${PASSED[@]}"; do
    if [[ $name == PYTHON* ]]; then
      hidden+=(-u "$name") passed+=(--variable "$name=${!name}")
    else
      passed+=(--variable "$name")
    fi
  done
  # shellcheck disable=SC2034 # run uses it
  RUN_UNDER=(env "${hidden[@]}" "$TOOL/trm-repro" step train --repository "$REPRO_ROOT" "${passed[@]}" --)
}

# keep_variables NAME…: in a subshell: nothing else is exported any more.
keep_variables() {
  local name
  for name in $(compgen -e); do
    [[ " $* " == *" $name "* ]] || export -n "${name?}"
  done
  for name in $(declare -Fx | cut -d' ' -f3); do unset -f "$name"; done
}

# fresh_caches ENVIRONMENT: what Python, numba, torch and Triton compile in this attempt lies in a folder of its own,
# empty at the start: what an earlier process left in theirs, or anybody put there, is not run. (The tool environment is
# ours: its caches are the ones that this tool itself runs on.)
fresh_caches() {
  local place=$REPRO_ROOT/$RUN_STATE/caches
  [[ $1 == training ]] || return 0
  dry || { rm -rf -- "$place" && mkdir -p "$place"; }
  give PYTHONPYCACHEPREFIX="$place/python" NUMBA_CACHE_DIR="$place/numba" TORCHINDUCTOR_CACHE_DIR="$place/inductor" \
    TRITON_CACHE_DIR="$place/triton" TORCH_EXTENSIONS_DIR="$place/extensions" CUDA_CACHE_PATH="$place/cuda" \
    PYTHONNOUSERSITE=1
}

# drop_caches: they are gone, and what this tool itself runs from here on does not make them again.
drop_caches() {
  unset PYTHONPYCACHEPREFIX NUMBA_CACHE_DIR TORCHINDUCTOR_CACHE_DIR
  dry || rm -rf -- "$RUN_STATE/caches"
}

# python_path FOLDER…: what a wrapped program finds of ours; an empty word is none.
python_path() {
  local folder path=''
  for folder; do path+=${folder:+:$folder}; done
  [[ -z $path ]] || export PYTHONPATH=${path#:}
}

# CUDA_HOME: where the CUDA compiler is that goes with the torch of this machine's lock. The lock's own lies beside
# torch's CUDA runtime; torch's extension builder looks for these two names there.
cuda_compiler() {
  CUDA_HOME=$LOCK_CUDA_HOME
  if [[ -z $CUDA_HOME ]]; then
    CUDA_HOME=$VENV_DIR/lib/python$ENVIRONMENT_PYTHON/site-packages/nvidia/cu13
    [[ $USE_VENV == 1 ]] || CUDA_HOME=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/nvidia/cu13
    run ln -sfn lib "$CUDA_HOME/lib64"
    run ln -sfn libcudart.so.13 "$CUDA_HOME/lib/libcudart.so"
  fi
  export CUDA_HOME
}

# What the lock for this machine's driver says (LOCKS: its files), adam-atan2 last: its build sees the torch that is
# installed (deviation D-04). What an environment holds that nobody has written down is not trusted to be what its
# version says.
install_locked() {
  local install=(pip install --require-hashes --no-deps)
  [[ $ENVIRONMENT_STATE != unknown ]] || install+=(--force-reinstall)
  note "${LOCKS[*]}: $LOCK_WHY; GPUs of compute capability $LOCK_ARCHITECTURES"
  run "${install[@]}" -r "${LOCKS[0]}" || install_failed "the locked packages could not be installed"
  ((${#LOCKS[@]} == 1 && ! ENVIRONMENT_COMPILER)) || cuda_compiler
  if ((${#LOCKS[@]} > 1)); then
    export TORCH_CUDA_ARCH_LIST=$LOCK_ARCHITECTURES NVCC_APPEND_FLAGS=$LOCK_NVCC_FLAGS
    install=(pip install --require-hashes --no-deps --no-build-isolation --no-cache-dir --force-reinstall)
    run "${install[@]}" -r "${LOCKS[1]}" || adam_failed
  fi
  if ((ENVIRONMENT_EDITABLE)); then
    run pip install --no-deps --no-index --no-build-isolation --editable "$TRM_DIR" ||
      install_failed "upstream's package could not be installed"
  elif [[ ! -d $TRM_DIR || -f $TRM_DIR/requirements.txt ]]; then
    run pip install --no-deps --no-index -r "$TRM_DIR/requirements.txt" ||
      install_failed "the lock does not satisfy upstream's requirements.txt" "see above for what is missing"
  fi
}

# Seed 000, step 3, in the order that works: torch, then adam-atan2 against that torch, then the rest (deviation D-04).
install_unlocked() {
  ((ENVIRONMENT_UNLOCKED)) ||
    die "$EXIT_USAGE" "ENV_LOCK=none: without a lock, no commands are known that make the environment of $RECIPE" \
      "leave ENV_LOCK at locks"
  run pip install --upgrade pip wheel setuptools || install_failed "pip could not be upgraded"
  run pip install --pre --upgrade torch torchvision torchaudio --index-url "$TORCH_INDEX_URL" ||
    install_failed "torch could not be installed" "choose the TORCH_INDEX_URL for your CUDA"
  run pip install ninja packaging setuptools-scm || install_failed "what builds adam-atan2 could not be installed"
  run pip install --no-cache-dir --no-build-isolation adam-atan2 || adam_failed
  run pip install -r "$TRM_DIR/requirements.txt" || install_failed "upstream's requirements could not be installed"
}

adam_failed() {
  local needs="a C++ compiler and Python's headers (Debian: g++ python3.10-dev)"
  [[ $ENV_LOCK == locks ]] || needs="nvcc of torch's CUDA major version"
  install_failed "adam-atan2 could not be built" "it needs $needs"
}

install_failed() { die "$EXIT_COMMAND" "$1" "${2:-the log says why; this step can be run again}"; }

# What would otherwise fail in the first minutes of the training, or at its first evaluation, fails here.
try_imports() {
  local words='import torch' name backend="adam_atan2_backend is adam-atan2's CUDA part"
  backend+=": it needs an nvcc of torch's CUDA version when it is installed"
  for name in "${UPSTREAM_IMPORTS[@]}" "${ENVIRONMENT_IMPORTS[@]}"; do
    [[ ", ${words#import }, " == *", $name, "* ]] || words+=", $name"
  done
  [[ $ENVIRONMENT != tool ]] || backend="the tool environment is made again by: rm .venv/ready && make .venv/ready"
  python_path "$SUPPORT"
  run python -c "$words" || install_failed "not all that upstream imports can be imported" "$backend"
  unset PYTHONPATH
  ((NEEDS_GPU && GPUS > 0)) || return 0
  words="import torch; found = torch.cuda.device_count(); assert found >= $PROCESSES, f'torch sees {found} GPUs'"
  run python -c "$words" ||
    install_failed "torch does not see the GPUs" \
      "the driver is too old for this torch's CUDA, or CUDA_VISIBLE_DEVICES hides them"
}

# Seed 000's listing, and below it which locks were installed.
describe_environment() {
  python -V
  pip list --exclude-editable
  python -c 'import torch; print("torch:", torch.__version__); print("cuda_available:", torch.cuda.is_available())'
  [[ $ENVIRONMENT != training ]] || printf 'lock: %s\n' "$ENV_LOCK"
  ((! ${#LOCKS[@]})) || sha256sum "${LOCKS[@]}"
}

# ---- clones ----

# overrule_clones: no program that a clone's own configuration names is run by git, and git is led nowhere else
# (runs/clone.py does the same for what Python asks). G-UPSTREAM-CONFIG refuses what cannot be overruled.
overrule_clones() {
  local setting count=${GIT_CONFIG_COUNT:-0}
  unset GIT_DIR GIT_WORK_TREE GIT_COMMON_DIR GIT_NAMESPACE GIT_CONFIG_PARAMETERS GIT_EXTERNAL_DIFF
  for setting in core.fsmonitor=false core.hooksPath=/dev/null core.pager=cat protocol.ext.allow=never; do
    export "GIT_CONFIG_KEY_$count=${setting%%=*}" "GIT_CONFIG_VALUE_$count=${setting#*=}"
    count=$((count + 1))
  done
  export GIT_CONFIG_COUNT=$count GIT_TERMINAL_PROMPT=0
}
overrule_clones

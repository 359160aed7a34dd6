# Guards: named invariants of a run. One function each; a step lists those that it needs and settles them together, so
# that the user sees every problem at once.
#
# A guard function prints nothing and returns 0 where the invariant holds; otherwise it calls `broken WHAT REMEDY`.
# OVERRIDE="G-NAME …" lets a run go on past a guard that allows it; the outcome is recorded in the manifest either way,
# and a run with an overridden guard is not faithful.
# shellcheck shell=bash

GUARD='' GUARD_FINDING='' GUARD_REMEDY='' GUARDS_BROKEN=0 INSISTED_ON=''

# Guards that nothing may override: without these, what is recorded would not be what ran.
readonly GUARDS_FIXED=' G-TOOLS G-SUPPORT G-GPUS G-KAGGLE-CREDENTIALS G-KAGGLE-NAMES '

broken() { GUARD_FINDING=$1 GUARD_REMEDY=$2; }

# guard G-NAME…: tries each; counts those that are broken and not overridden.
guard() {
  local outcome
  ! dry || [[ $STEP == 01-sanity ]] || return 0 # a plan is made before the steps that these look at
  for GUARD; do
    GUARD_FINDING='' GUARD_REMEDY=''
    local name=${GUARD,,}
    "${name//-/_}"
    outcome=holds
    if [[ -n $GUARD_FINDING ]]; then
      outcome=broken
      if [[ " ${OVERRIDE//,/ } " == *" $GUARD "* && $GUARDS_FIXED != *" $GUARD "* ]]; then
        outcome=overridden
        warn "$GUARD overridden: $GUARD_FINDING"
      else
        GUARDS_BROKEN=$((GUARDS_BROKEN + 1))
        printf 'error: %s: %s\nhint: %s\n' "$GUARD" "$GUARD_FINDING" "$GUARD_REMEDY$(override_hint)" >&2
      fi
    fi
    dry || record_guard "$GUARD" "$outcome" "${GUARD_FINDING//[$'\t\n']/ }"
  done
}

override_hint() {
  [[ $GUARDS_FIXED == *" $GUARD "* ]] ||
    printf ' (or OVERRIDE=%s: recorded, and the run is no longer faithful)' "$GUARD"
}

# guards_settle [CODE]: stops with CODE (4: an invariant is broken) if any is broken.
guards_settle() {
  local count=$GUARDS_BROKEN
  GUARDS_BROKEN=0
  if dry; then
    ((count == 0)) || warn "$count of these would stop the run"
    return 0
  fi
  ((count == 0)) ||
    die "${1:-$EXIT_INVARIANT}" "$STEP: $count problem(s), all listed above; nothing was started"
}

# ---- the invariants ----

# What is reproduced is what the recipe reproduces.
g_target_dataset() {
  [[ $TARGET_DATASET == "$RECIPE_TARGET_DATASET" ]] ||
    broken "TARGET_DATASET is '$TARGET_DATASET', the recipe $RECIPE is for '$RECIPE_TARGET_DATASET'" \
      "unset TARGET_DATASET, or choose another RECIPE"
}

# The programs that every run needs are there, and run.
g_tools() {
  local name missing=''
  for name in git make flock realpath sha256sum; do
    "$name" --version >/dev/null 2>&1 || missing+="$name "
  done
  [[ -z $missing ]] || broken "missing: ${missing% }" "install them with the system's package manager"
}

# The training environment is made by the Python that upstream names. The interpreter is run, not only found: a pyenv
# shim can be found and fail.
g_python() {
  local version said
  [[ $ENVIRONMENT != tool ]] || return 0
  version=$("$PY" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || version=''
  said=${version:+is Python $version}
  [[ $version == "$ENVIRONMENT_PYTHON" ]] ||
    broken "PY='$PY' ${said:-does not run}, upstream needs $ENVIRONMENT_PYTHON" \
      "install Python $ENVIRONMENT_PYTHON and set PY to it; do not go on with another version"
}

# There is at least one GPU for an engine that needs it.
g_gpus() {
  ((! NEEDS_GPU || GPUS > 0)) ||
    broken "no GPU that can be used: $GPUS_PROBLEM" "$GPUS_REMEDY"
}

# The machine has what the run cannot do without, as `trm-repro step preflight` measured it (MEASURED).
g_machine() {
  local short
  short=$(sed -n 's/^falls short: //p' <<<"$MEASURED")
  [[ -z $short ]] ||
    broken "this machine falls short of what the run needs: $short" "each line marked 'problem' above says what to do"
}

# The global batch can be split evenly among the processes.
g_processes() {
  ((BATCH % PROCESSES == 0)) ||
    broken "$PROCESSES processes cannot share a batch of $BATCH evenly" \
      "set MAX_GPUS_TO_USE to a number that divides $BATCH, such as 4"
}

# TRM_DIR is a clone of its own. A submodule's .git is a file, and an empty submodule's folder belongs to our
# repository, so the question is put to git.
upstream_is_cloned() {
  [[ $(git -C "$TRM_DIR" rev-parse --show-toplevel 2>/dev/null) == "$(realpath -m "$TRM_DIR")" ]]
}

# The clone's own configuration holds nothing but what git itself and its users' everyday commands write there: no
# program to run, no other file to read. Those of its submodules, too, and no hooks of theirs.
readonly HARMLESS_CONFIG="^(core\\.(repositoryformatversion|filemode|bare|logallrefupdates|ignorecase|precomposeunicode\
|symlinks|autocrlf|eol|safecrlf|sparsecheckout|sparsecheckoutcone|longpaths|quotepath|abbrev|worktree)\
|remote\\..+\\.(url|pushurl|fetch|tagopt|prune|promisor|partialclonefilter)|branch\\..+\
|url\\..+\\.(pushinsteadof|insteadof)|submodule\\.(.+\\.)?(url|active)\
|extensions\\.(objectformat|worktreeconfig|partialclone)|lfs\\.repositoryformatversion\
|(user|advice|gc|pull|push|init|index|fetch|http)\\..+)$"
g_upstream_config() {
  local found='' folder own='(local|worktree)\t'
  [[ -n $UPSTREAM_COMMIT ]] && upstream_is_cloned || return 0
  for folder in . "${UPSTREAM_SUBMODULES[@]}"; do
    [[ ! -e $TRM_DIR/$folder/.git ]] ||
      found+=$(unknown_config "$own" -C "$TRM_DIR/$folder" config --show-scope)
  done
  # git would go on with what lies here, where a submodule's own folder is not there yet
  folder=$(git -C "$TRM_DIR" rev-parse --absolute-git-dir)/modules
  while IFS= read -r -d '' folder; do
    found+=$(unknown_config '' config --file "$folder/config")
    found+=$(find "$folder/hooks" -mindepth 1 ! -name '*.sample' -printf 'hooks/%P ' 2>/dev/null || true)
  done < <(find "$folder" -name config -type f -printf '%h\0' 2>/dev/null)
  [[ -z $found ]] ||
    broken "the configuration of $TRM_DIR has what git could run, or read from elsewhere: ${found% }" \
      "remove it (git -C $(shell_words "$TRM_DIR") config --unset NAME), or set TRM_DIR to another folder"
}

# unknown_config BEFORE WORDS OF GIT…: the names in a clone's own configuration that are not among the harmless; each
# has BEFORE in front of it.
unknown_config() {
  local listed
  listed=$(git "${@:2}" --list --name-only 2>/dev/null) || { printf '(which git cannot read) ' && return; }
  sed -nE "s/^$1//p" <<<"$listed" | grep -vE "$HARMLESS_CONFIG" | tr '\n' ' ' || true
}

# Upstream is at the recipe's commit, and that commit has the recipe's tree. (`git replace` could make it another's.)
g_upstream_pin() {
  local head
  [[ -n $UPSTREAM_COMMIT ]] || return 0
  upstream_is_cloned || { no_clone && return; }
  head=$(git -C "$TRM_DIR" --no-replace-objects rev-parse HEAD 'HEAD^{tree}' 2>/dev/null) || head=nothing
  head=${head/$'\n'/, tree }
  [[ $head == "$UPSTREAM_COMMIT, tree $UPSTREAM_TREE" ]] ||
    broken "$TRM_DIR is at $head, the pin is $UPSTREAM_COMMIT, tree $UPSTREAM_TREE" \
      "git -C $(shell_words "$TRM_DIR") checkout --detach $UPSTREAM_COMMIT, or set TRM_DIR to another folder"
}

# Every tracked file of upstream is, byte for byte, the pinned one.
g_upstream_unmodified() {
  local changed
  [[ -n $UPSTREAM_COMMIT ]] || return 0
  upstream_is_cloned || { no_clone && return; }
  changed=$(upstream_changes) || changed='the commit is not there'
  [[ -z $changed ]] ||
    broken "tracked files of upstream differ from the pin: ${changed//$'\n'/, }" \
      "git -C $(shell_words "$TRM_DIR") checkout $UPSTREAM_COMMIT -- ."
}

no_clone() {
  local why
  needs git
  why=$(git -C "$TRM_DIR" rev-parse --show-toplevel 2>&1 | head -n 1) || true
  [[ $why == *[Dd]ubious* ]] || why='there is none'
  broken "$TRM_DIR holds no clone of upstream that git can read: $why" "make step-2"
}

# upstream_changes [FOLDER COMMIT]: the paths in the pinned tree whose file is missing or another blob, a line each;
# those in submodules that the recipe needs, too. The files are hashed as they lie on the disk: no index, line-end
# setting or filter of the clone stands between.
upstream_changes() {
  local folder=${1-.} commit=${2-$UPSTREAM_COMMIT} place=$TRM_DIR/${1-.} entries entry path paths=() blobs=() hashed i
  entries=$(git -C "$place" --no-replace-objects -c core.quotePath=false ls-tree -r --full-tree "$commit") || return
  while IFS=$'\t' read -r entry path; do
    case $entry in
      100*) if [[ -f $place/$path && ! -L $place/$path ]]; then
        paths+=("$path") blobs+=("${entry##* }")
      else
        printf '%s\n' "$path"
      fi ;;
      120000*) [[ $(readlink -n "$place/$path" | git hash-object --stdin) == "${entry##* }" ]] ||
        printf '%s\n' "$path" ;;
      160000*) [[ $folder != . || " ${UPSTREAM_SUBMODULES[*]} " != *" $path "* ]] ||
        upstream_changes "$path" "${entry##* }" || printf '%s\n' "$path" ;;
    esac
  done <<<"$entries"
  mapfile -t hashed < <(printf '%s\n' "${paths[@]}" | git -C "$place" hash-object --no-filters --stdin-paths)
  for i in "${!paths[@]}"; do
    [[ ${hashed[i]-} == "${blobs[i]}" ]] || printf '%s\n' "${paths[i]}"
  done
}

# Nothing lies in upstream's tree that Python or Hydra could pick up in place of upstream's own files: no module, no
# configuration, no link, no repository. Upstream writes data, checkpoints, logs and caches into its tree: those are
# its own, as long as they do not make a package (`wandb/__init__.py` would be imported for wandb).
g_upstream_strays() {
  local strays='' place path link own=("${UPSTREAM_WRITES[@]}" "${UPSTREAM_LINKS[@]%%=*}" .venv 'kaggle_dataset_*')
  local allowed=(--exclude=__pycache__/)
  [[ -n $UPSTREAM_COMMIT ]] && upstream_is_cloned || return 0
  for path in "${own[@]}"; do
    allowed+=("--exclude=/$path/*" "--exclude=/$path.set-aside-*/*" "--exclude=!/$path/__init__.*")
  done
  for place in . "${UPSTREAM_SUBMODULES[@]}"; do
    while IFS= read -r -d '' path; do
      [[ " ${own[*]} " == *" $path "* ]] && continue # its own folder, as a link to another disk
      [[ $path =~ \.(py|pyc|pyd|so|pth|yaml|yml|egg-link)$ || $path == */ || -L $TRM_DIR/$place/$path ]] &&
        strays+="$path "
    done < <(upstream_extras "$place" "${allowed[@]}")
  done
  for link in "${UPSTREAM_LINKS[@]}"; do
    [[ $(readlink "$TRM_DIR/${link%%=*}") == "${link#*=}" ]] || strays+="${link%%=*} "
  done
  [[ -z $strays ]] ||
    broken "files that are not upstream's could be imported: $strays" "move them out of $TRM_DIR"
}

# upstream_extras FOLDER OPTION…: the paths there that are not in its commit, each ended by a zero byte. The commit is
# asked, not the clone's index.
upstream_extras() {
  local index
  index=$(mktemp -d)
  GIT_INDEX_FILE=$index/commit git -C "$TRM_DIR/$1" --no-replace-objects read-tree HEAD
  GIT_INDEX_FILE=$index/commit git -C "$TRM_DIR/$1" ls-files --others -z "${@:2}"
  rm -r "$index"
}

# The commands about to run are the recipe's, token by token.
g_builder_command() { g_command BUILDER RECIPE_BUILDER; }
g_train_command() { g_command TRAIN RECIPE_TRAIN; }
# g_command FOUND EXPECTED: arrays of words.
g_command() {
  local -n found=$1 expected=$2
  local word difference=''
  [[ ${found[*]@Q} != "${expected[*]@Q}" ]] || return 0
  for word in "${expected[@]}"; do holds_word "$word" "${found[@]}" || difference+="missing: $word; "; done
  for word in "${found[@]}"; do holds_word "$word" "${expected[@]}" || difference+="added: $word; "; done
  [[ -n $difference ]] ||
    difference="order or repetition differs: expected ${expected[*]@Q}; found ${found[*]@Q}; "
  broken "${difference%; }" "remove what was added (EXTRA_BUILDER_ARGS, EXTRA_TRAIN_ARGS)"
}
# holds_word WORD AMONG…
holds_word() {
  local other
  for other in "${@:2}"; do [[ $other != "$1" ]] || return 0; done
  return 1
}

# No ARC-AGI-1 task enters an ARC-AGI-2 run: neither as a subset nor as a data path. (ARC-AGI-2's training set
# contains ARC-AGI-1 tasks by design; the rule is about upstream's ARC-AGI-1 files and data folders.)
g_no_arc1() {
  local word
  [[ $RECIPE_TARGET_DATASET == arc2 ]] || return 0
  for word in "${BUILDER[@]}" "${TRAIN[@]}"; do
    case $word in
      training | evaluation | *data_paths*=*arc1* | data/*arc1*)
        broken "'$word' would bring ARC-AGI-1 into an ARC-AGI-2 run" \
          "use the subsets training2, evaluation2 and concept only"
        ;;
    esac
  done
}

# What the training is given is, byte for byte, what step 4 put out: as it starts and when it ended (INPUTS_PROBLEM).
g_dataset() {
  [[ -z $INPUTS_PROBLEM ]] || broken "$INPUTS_PROBLEM" "make step-4: what is there is checked, or made anew"
}

# Every file of the training environment is one that a RECORD lists, with its digest, and what step 3 found; there is no
# .pth, sitecustomize or module beside them. Python looks (ENVIRONMENT_FOUND); the tool's own environment is not asked.
g_environment_files() {
  [[ -z $ENVIRONMENT_FOUND ]] ||
    broken "$(short "$VENV_DIR") is not what was installed: $ENVIRONMENT_FOUND" \
      "delete it, and make step-3 FORCE=1; nothing but step 3 may write there"
}

# No variable is set from outside that is known to change what is computed or which code is loaded. It would not reach
# the training in any case (choose_variables); but who sets it means something by it, and is told.
g_environment() {
  local name found=''
  INSISTED_ON=''
  for name in PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONOPTIMIZE DISABLE_COMPILE WANDB_DISABLED TORCH_COMPILE_DISABLE \
    TORCHDYNAMO_DISABLE NVIDIA_TF32_OVERRIDE TORCH_ALLOW_TF32_CUBLAS_OVERRIDE PYTORCH_NO_CUDA_MEMORY_CACHING \
    LD_PRELOAD LD_AUDIT; do
    [[ -z ${!name+set} ]] || found+="$name=${!name} " INSISTED_ON+="$name "
  done
  [[ -z $found ]] || broken "variables that could change what is computed are set: ${found% }" "unset them"
}

# A faithful training stands on nothing but what its document names: no support is put under it, by the recipe's key or
# by the words of its command (env PYTHONPATH=…).
g_support() {
  local word found=$SUPPORT
  for word in "${TRAIN[@]}"; do [[ $word != *trm_repro/support/* ]] || found=$word; done
  [[ $RECIPE_FAITHFUL == 0 || -z $found ]] ||
    broken "the recipe $RECIPE calls itself faithful and puts $(short "$found") under the training" \
      "say faithful: false in it, or take train.support away"
}

# The Kaggle title and slug that RUN_NAME yields are legal. Known in minute one, not after training.
g_kaggle_names() {
  [[ -z $KAGGLE_NAMES_PROBLEM ]] || broken "$KAGGLE_NAMES_PROBLEM" "choose another RUN_NAME or KAGGLE_DATASET_SLUG"
}

# If the run is to be uploaded, or is to begin with a download from Kaggle, whoever does it is known and can.
g_kaggle_credentials() {
  local problem sign_in=()
  [[ $PUBLISH_TO_KAGGLE == 1 && $UPLOADS == 1 ]] ||
    [[ $STEP == 01-sanity && " ${BUILDER[0]} ${FETCH_WEIGHTS[0]-} " == *' kaggle '* ]] || return 0
  [[ $CHECK_REMOTE != 1 ]] || sign_in=(--remote)
  problem=$(repro publish credentials "${sign_in[@]}" 2>&1 >/dev/null) ||
    broken "${problem//$'\n'/; }" \
      "put kaggle.json (mode 600) in place and set KAGGLE_USERNAME, or set PUBLISH_TO_KAGGLE=0"
}

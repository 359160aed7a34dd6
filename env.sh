# Every knob with its default. Every step sources this file; so can you.
#
# What wins: a value in the environment (make VAR=value included), then env.local.sh (git-ignored, beside this file,
# plain assignments), then the default here. `make env` prints what is in force, secrets masked. A switch is 1 or 0.
# A value that cannot be, and a name that is nearly a knob's, stop every step (src/trm_repro/cli/knobs.py).
# shellcheck shell=bash disable=SC2034

REPRO_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)

KNOBS=(
  RECIPE TARGET_DATASET TRM_DIR PY USE_VENV VENV_DIR ENV_LOCK CUDA_LOCK TORCH_INDEX_URL RUN_NAME MAX_GPUS_TO_USE
  WANDB_API_KEY PUBLISH_TO_KAGGLE KAGGLE_USERNAME KAGGLE_DATASET_SLUG KAGGLE_DS_DIR TRM_REMOTE EXTRA_BUILDER_ARGS
  EXTRA_TRAIN_ARGS OVERRIDE PUBLISH_UNFAITHFUL WANDB_TAP RESUME CHECK_REMOTE GPU_HOUR_USD DATASET_BUILDER
  KAGGLE_PUBLIC PUBLISH_VERIFY PUBLISH_TIMEOUT PUBLISH_LICENSE PUBLISH_TO_HF HF_REPO_ID HF_PUBLIC SIGNING_KEY
  HF_BENCHMARK KAGGLE_COMPETITION
)
SECRETS=(WANDB_API_KEY KAGGLE_KEY KAGGLE_API_TOKEN HF_TOKEN)

# masked TEXT: sets REPLY to the text with the user and password of every address in it masked; a user of ssh without
# a password is no secret. `masked` in runs/records.py does the same for Python.
masked() {
  local LC_ALL=C rest=$1 scheme who after plain='://([^/?#[:space:]]*)@(.*)$'
  local broken='://([^/?#[:space:]@:]*:[^[:space:]]*)@(.*)$' # a password with a raw '/' in it: no address any more
  REPLY=''
  while [[ $rest == *://*@* ]]; do
    [[ $rest =~ ^(.*[A-Za-z0-9+.-])$plain || $rest =~ ^(.*[A-Za-z0-9+.-])$broken ]] || break
    scheme=${BASH_REMATCH[1]} who=${BASH_REMATCH[2]} after=${BASH_REMATCH[3]}
    # not masked: a user of ssh, and a host with its port and an @ behind it
    [[ ($scheme == *ssh && $who != *:*) || $who =~ ^[^:]*:[0-9]*[/?#] ]] || who='********'
    REPLY=://$who@$after$REPLY rest=$scheme
  done
  REPLY=$rest$REPLY
}

_from_environment() {
  local name
  declare -gA _given=()
  for name in "${KNOBS[@]}"; do
    [[ -z ${!name+set} ]] || _given[$name]=${!name}
  done
}
_restore_environment() {
  local name
  for name in "${!_given[@]}"; do printf -v "$name" '%s' "${_given[$name]}"; done
}
_from_environment
# shellcheck source=/dev/null
[[ -n ${KNOBS_WITHOUT_LOCAL-} || ! -f $REPRO_ROOT/env.local.sh ]] || source "$REPRO_ROOT/env.local.sh"
_restore_environment

_recipe_says() { sed -n "s/^$1: *//p" "$REPRO_ROOT/recipes/$RECIPE.yaml" 2>/dev/null; }
# What only looks at a run looks at the last one where none is named.
[[ -z ${LAST_RUN-} ]] || source "$REPRO_ROOT/lib/last.bash"
# The reproduction to run: a file in recipes/. Its first lines are the defaults of the knobs of the same name.
: "${RECIPE:=arc2-paper}"

: "${TARGET_DATASET:=$(_recipe_says target_dataset)}" # must be what the recipe says (guard G-TARGET-DATASET)
: "${TRM_DIR:=$REPRO_ROOT/$(_recipe_says trm_dir)}"   # where the training runs: upstream's checkout, or our own
: "${RUN_NAME:=$(_recipe_says run_name)}"             # names the checkpoint folder, the logs and the Kaggle dataset

: "${PY:=python3.10}" # must be Python 3.10 for upstream
: "${USE_VENV:=1}"    # 0: install into PY's own environment
: "${VENV_DIR:=$TRM_DIR/.venv}"
: "${ENV_LOCK:=locks}" # locks: what locks/ names, by digest; none: the seed's commands, torch from TORCH_INDEX_URL
: "${CUDA_LOCK:=auto}" # auto: by the driver; or cu130, cu126
: "${TORCH_INDEX_URL:=https://download.pytorch.org/whl/nightly/cu126}"
: "${MAX_GPUS_TO_USE:=$(_recipe_says max_gpus_to_use)}"
: "${MAX_GPUS_TO_USE:=4}"

: "${WANDB_API_KEY:=}" # empty: Weights & Biases stays offline and never asks

: "${PUBLISH_TO_KAGGLE:=1}"
: "${KAGGLE_USERNAME:=<your_kaggle_username>}"
: "${KAGGLE_DATASET_SLUG:=trm-${TARGET_DATASET}-weights-${RUN_NAME}}"
: "${KAGGLE_DS_DIR:=$TRM_DIR/kaggle_dataset_${TARGET_DATASET}_${RUN_NAME}}"
: "${PUBLISH_UNFAITHFUL:=0}" # 1: upload a run that is not faithful; its card says so in the first line

: "${KAGGLE_PUBLIC:=0}"           # 1: the dataset is public at once
: "${PUBLISH_VERIFY:=sizes}"      # sizes: remote names and sizes are compared; download: digests as well
: "${PUBLISH_TIMEOUT:=3600}"      # seconds to wait for Kaggle to call the dataset ready
: "${PUBLISH_LICENSE:=cc-by-4.0}" # of the weights
: "${PUBLISH_TO_HF:=0}"           # 1: the same bundle goes to Hugging Face, as HF_REPO_ID (owner/name)
: "${HF_REPO_ID:=}"
: "${HF_PUBLIC:=0}"   # 1: the repository there is public at once
: "${HF_BENCHMARK:=}" # owner/dataset:task_id there: its leaderboard is told the number
: "${SIGNING_KEY:=}"  # an SSH key: the statement is signed with it; with an ECDSA one in PEM the bundle, too

: "${KAGGLE_COMPETITION:=arc-prize-2026-arc-agi-2}" # what the notebook submits to, as in its address

: "${DATASET_BUILDER:=exact}" # fast: our builder, proven by the recipe's digests; exact: the recipe's command
: "${TRM_REMOTE:=}"           # fetch upstream from here instead of the recipe's URL; the pin stays
: "${EXTRA_BUILDER_ARGS:=}"   # words added to the builder command; breaks G-BUILDER-COMMAND
: "${EXTRA_TRAIN_ARGS:=}"     # words added to the training command; breaks G-TRAIN-COMMAND
: "${CHECK_REMOTE:=0}"        # 1: step 1 asks every server that the run needs, and signs in to Kaggle and W&B
: "${GPU_HOUR_USD:=2.5}"      # what a GPU costs an hour, for make plan: an H100's usual price on the cheaper clouds
: "${WANDB_TAP:=1}"           # 0: upstream's metrics go to Weights & Biases only, not to metrics.jsonl as well
: "${RESUME:=}"               # warm: begin with the weights of the last unfinished attempt; not faithful
: "${OVERRIDE:=}"             # guards to override, by name; each is recorded, and the run is no longer faithful

# print_knobs: every knob and its value, secrets masked.
print_knobs() {
  local name value
  for name in "${KNOBS[@]}"; do
    masked "${!name}" && value=$REPLY
    [[ " ${SECRETS[*]} " != *" $name "* || -z $value ]] || value='********'
    [[ $value == *://* || $value != *:*@* ]] || value='********' # user:password@host, which git takes for no address
    printf '%s=%s\n' "$name" "${value@Q}"
  done
}

# knob_defaults: NAME=VALUE lines as they would be if nobody had set anything but RECIPE.
knob_defaults() {
  local script='source "$1/env.sh" && for name in "${KNOBS[@]}"; do printf "%s=%s\n" "$name" "${!name}"; done'
  env -i PATH="$PATH" RECIPE="$RECIPE" KNOBS_WITHOUT_LOCAL=1 bash -c "$script" knob_defaults "$REPRO_ROOT"
}

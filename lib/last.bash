# Which run is looked at: the one that is named (RUN_NAME, or RECIPE for the run of its name), else the last that was
# worked on. env.sh sources this where LAST_RUN is set: 1, or "any" where the default recipe will do when there is none.
# A run is looked at with the knobs that its steps had (.repro/runs/RUN_NAME/knobs); the environment wins over those.
# shellcheck shell=bash disable=SC2034,SC2154 # _given is env.sh's

# The names of the runs that have begun here, the last one worked on first.
_runs_here() {
  local name
  local -A seen=()
  [[ -d $REPRO_ROOT/.repro/runs ]] || return 0
  while IFS=' /' read -r _ name _; do
    [[ -n ${seen[$name]+set} ]] || printf '%s\n' "$name"
    seen[$name]=1
  done < <(find "$REPRO_ROOT/.repro/runs" -mindepth 2 -maxdepth 2 -type f -printf '%T@ %P\n' | sort -rn)
}

# _at_work NAME: whether a step of that run is running: it holds the lock.
_at_work() {
  local lock=$REPRO_ROOT/.repro/runs/$1/lock said=0
  [[ -f $lock ]] || return
  flock --nonblock --shared 9 9<"$lock" || said=$?
  ((said == 1)) # it is held; another code says that it cannot be told
}

# _as_it_was NAME: the knobs that a run's steps had, where another value is not given; none of a run of another recipe.
_as_it_was() {
  local file=$REPRO_ROOT/.repro/runs/$1/knobs line name
  [[ -f $file ]] || return 0
  [[ -z ${_given[RECIPE]-} ]] || grep -qxF "RECIPE=${_given[RECIPE]}" "$file" || return 0
  while IFS= read -r line; do
    name=${line%%=*} line=${line#*=}
    [[ " ${KNOBS[*]} " != *" $name "* || -n ${_given[$name]+set} ]] ||
      printf -v "$name" '%s' "${line//'$REPRO_ROOT'/$REPRO_ROOT}"
  done <"$file"
}

_choose_run() {
  local name names=() working=() others
  [[ -n ${RECIPE-} ]] || unset '_given[RECIPE]'
  if [[ -n ${RECIPE-}${RUN_NAME-} ]]; then
    name=${RUN_NAME:-$(_recipe_says run_name)}
    _as_it_was "$name"
    mapfile -t names < <(_runs_here)
    [[ " ${names[*]} " == *" $name "* ]] ||
      note "no run '$name' has begun here${names[0]:+; there are: ${names[*]}}"
    return
  fi
  unset '_given[RUN_NAME]'
  mapfile -t names < <(_runs_here)
  for name in "${names[@]}"; do ! _at_work "$name" || working+=("$name"); done
  if ((! ${#names[@]})); then
    [[ $LAST_RUN != any ]] || return 0
    die "$EXIT_PREREQUISITE" "no run has begun here" \
      "make rehearse begins one that ends in minutes; RECIPE=… names one that has not begun (make recipes)"
  elif ((${#working[@]} > 1)); then
    die "$EXIT_USAGE" "${#working[@]} runs are at work: ${working[*]}" "name one of them: RUN_NAME=${working[0]}"
  fi
  RUN_NAME=${working[0]-${names[0]}} others=''
  _as_it_was "$RUN_NAME"
  # without a record of it: the recipe that gives a run this name
  : "${RECIPE:=$(cd "$REPRO_ROOT/recipes" && grep -lx "run_name: $RUN_NAME" -- *.yaml | sed -n '1s/\.yaml$//p')}"
  for name in "${names[@]}"; do [[ $name == "$RUN_NAME" ]] || others+=", $name"; done
  note "the last run: $RUN_NAME (recipe ${RECIPE:-unknown}); RUN_NAME=… names another${others:+: ${others#, }}"
}
_choose_run

# The ground every step stands on: strict mode, locale, knobs, messages, options, and how a step begins and ends.
# It defines and checks; it builds nothing.
# shellcheck shell=bash

if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 404)); then
  printf 'error: bash %s is too old\nhint: install bash 4.4 or newer\n' "$BASH_VERSION" >&2
  exit 3
fi
set -o errexit -o nounset -o pipefail
shopt -s inherit_errexit
export LC_ALL=C.UTF-8
umask 022

# shellcheck disable=SC2034
readonly EXIT_USAGE=2 EXIT_PREREQUISITE=3 EXIT_INVARIANT=4 EXIT_COMMAND=5

note() { printf '==> %s\n' "$*" >&2; }
warn() { printf 'warning: %s\n' "$*" >&2; }
# die CODE MESSAGE [HINT]
die() {
  printf 'error: %s\n' "$2" >&2
  [[ -z ${3-} ]] || printf 'hint: %s\n' "$3" >&2
  exit "$1"
}

source "$(dirname "${BASH_SOURCE[0]}")/../env.sh"
# shellcheck source=./guard.bash
source "$REPRO_ROOT/lib/guard.bash"
# shellcheck source=./machine.bash
source "$REPRO_ROOT/lib/machine.bash"
export "${KNOBS[@]}"
cd "$REPRO_ROOT"

[[ -f recipes/$RECIPE.yaml ]] ||
  die "$EXIT_USAGE" "no recipe '$RECIPE'" "choose one of: $(cd recipes && printf '%s ' *.yaml | sed 's/\.yaml//g')"
[[ $RUN_NAME =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]] ||
  die "$EXIT_INVARIANT" "G-RUN-NAME: '$RUN_NAME' is not safe as a file name" "use letters, digits, '.', '_' and '-'"
[[ $MAX_GPUS_TO_USE =~ ^[1-9][0-9]*$ ]] ||
  die "$EXIT_USAGE" "MAX_GPUS_TO_USE is '$MAX_GPUS_TO_USE', not a number of GPUs" "set it to 4, or leave it unset"

TOOL=$REPRO_ROOT/.venv/bin
RUN_STATE=.repro/runs/$RUN_NAME
ARTIFACTS=artifacts/$RUN_NAME
DRY_RUN=0 FORCE=0 FINISHED=0 STEP='' RUN_UNDER=()
KEEP_FINISHED=0 # 1: a finished step that used GPUs runs again only with --force

# Nothing that a step starts keeps its lock (9): what outlives a killed step must not look like the step at work.
repro() { "$TOOL/trm-repro" "$@" 9>&-; }

# A path as people read it: without this repository's own.
short() { printf '%s\n' "${1#"$REPRO_ROOT"/}"; }

# The header comment of the calling script, up to the first blank line.
help_text() { sed -n '2,/^$/{s/^# \{0,1\}//;/^$/q;p}' "$0"; }

# step_begin "$@": options; leaves if the step is fresh; starts the log; loads the recipe.
step_begin() {
  STEP=$(basename "$0" .sh)
  while (($#)); do
    case $1 in
      --help | -h) help_text && exit 0 ;;
      --dry-run | -n) DRY_RUN=1 ;;
      --force | -f) FORCE=1 ;;
      *) die "$EXIT_USAGE" "unknown option '$1'" "steps/$STEP.sh --help" ;;
    esac
    shift
  done
  [[ -x $TOOL/trm-repro ]] || die "$EXIT_PREREQUISITE" "the tool environment .venv is not there" "run: make .venv/ready"
  if ((! DRY_RUN && ! FORCE)) && repro stamp fresh "$STEP"; then exit 0; fi
  local rendered
  rendered=$(repro recipe render --processes "$(process_count)") || exit
  # shellcheck source=/dev/null
  source /dev/stdin <<<"$rendered"
  ((DRY_RUN)) || { take_over && open_log; }
  note "$STEP: $(sed -n 's/^# Summary: //p' "$0")"
}

# One step of a run works at a time: waits for another to end, ends what a killed one left behind, and takes back the
# step's stamp, so that nothing half-done looks finished.
take_over() {
  flock --version >/dev/null 2>&1 || die "$EXIT_PREREQUISITE" "flock is missing" "install util-linux with the system's package manager"
  mkdir -p "$RUN_STATE"
  exec 9>>"$RUN_STATE/lock"
  if ! flock --nonblock 9; then
    note "$(<"$RUN_STATE/lock") works on this run; waiting for it to end"
    flock 9
    if ((! FORCE)) && repro stamp fresh "$STEP"; then exit 0; fi
  fi
  if ((KEEP_FINISHED && NEEDS_GPU && ! FORCE)) && [[ -f $RUN_STATE/$STEP.stamp ]]; then
    die "$EXIT_INVARIANT" "$STEP of this run is finished, and something it depends on has changed since (above); days of work are not repeated unasked" \
      "go on with it: make step-6; train beside it: RUN_NAME=another; train again, and set it aside: make step-${STEP:1:1} FORCE=1"
  fi
  printf '%s (process %s)\n' "$STEP" "$$" >"$RUN_STATE/lock"
  end_orphans
  export TRM_REPRO_STEP=$REPRO_ROOT/$RUN_STATE
  rm -f "$RUN_STATE/$STEP.stamp"
}

# Ends the processes of an earlier step of this run that was killed before them: they would go on writing.
end_orphans() {
  local pid pids=()
  mapfile -t pids < <(grep -lsz "^TRM_REPRO_STEP=$REPRO_ROOT/$RUN_STATE\$" /proc/[0-9]*/environ | cut -d/ -f3)
  for pid in "${pids[@]}"; do
    kill -KILL "$pid" 2>/dev/null && warn "process $pid of an earlier, killed attempt was still running: ended it"
  done
  return 0
}

# From here on, stdout and stderr also go to the step's log. A terminal keeps its progress bars (progress.py). What writes
# the log ends when there is nothing more to write, and by no signal that ends the step: how it ended must stand in it.
open_log() {
  local folder=logs/$RUN_NAME
  mkdir -p "$folder" "$RUN_STATE" "$ARTIFACTS"
  LOG=$folder/$STEP.$(date -u +%Y%m%dT%H%M%SZ).log
  if [[ -t 2 ]]; then
    TRM_REPRO_TERMINAL=$(tty <&2)
    export TRM_REPRO_TERMINAL TRM_REPRO_LOG=$REPRO_ROOT/$LOG
  fi
  exec > >(trap '' INT TERM HUP && exec tee -a "$LOG" 9>&-) 2> >(trap '' INT TERM HUP && exec tee -a "$LOG" >&2 9>&-)
  STARTED=$(date -u +%FT%TZ)
  trap 'step_failed $?' EXIT
}

# The exit trap: a step that ends before step_done has failed; say where to look.
step_failed() {
  ((FINISHED)) || printf 'hint: the log of this step is %s\n' "$LOG" >&2
  exec >&- 2>&- 9>&-
  wait # for tee to write the last lines
}

# step_done SENTENCE OUTPUT…: writes the stamp, last; one line of result on stdout.
step_done() {
  local sentence=$1
  shift
  ((! DRY_RUN)) || exit 0
  repro stamp write "$STEP" --started "$STARTED" --said "$sentence" --log "$LOG" --outputs "$@"
  printf '%s: %s\n' "$STEP" "$sentence"
  FINISHED=1
}

# run COMMAND…: prints the command, runs it, records it. In a dry run it is printed only.
# Its working folder is RUN_CWD, relative to the repository, if that is set; RUN_UNDER is a program that runs it for us.
run() {
  local cwd=${RUN_CWD:-.} began code=0
  printf -- '-> %s%s\n' "$([[ $cwd == . ]] || printf '(cd %s) ' "${cwd@Q}")" "$(shell_words "$@")" >&2
  ((! DRY_RUN)) || return 0
  [[ $1 != trm-repro ]] || local PATH=$TOOL:$PATH # ours, and nothing else of the tool environment
  began=$(date -u +%FT%TZ)
  (cd "$cwd" && exec "${RUN_UNDER[@]}" "$@" 9>&-) || code=$?
  repro record command --step "$STEP" --cwd "$cwd" --started "$began" --exit-code "$code" -- "$@"
  return "$code"
}

# The words of a command, quoted so that they can be pasted into a shell.
shell_words() {
  local word out=''
  for word in "$@"; do
    if [[ $word =~ ^[A-Za-z0-9_./:=@%+,-]+$ ]]; then out+="$word "; else out+="${word@Q} "; fi
  done
  printf '%s\n' "${out% }"
}

# set_aside PATH: moves something that is not trusted out of the way, under a name that says so.
# Files that upstream tracks there stay.
set_aside() {
  local place entry entries=()
  [[ -e $1 ]] || return 0
  place=$1.set-aside-$(date -u +%Y%m%dT%H%M%SZ)
  if [[ -z $(git -C "$1" ls-files 2>/dev/null) ]]; then
    mv -- "$1" "$place"
  else
    mapfile -t entries < <(git -C "$1" ls-files --others --directory)
    ((${#entries[@]})) || return 0
    mkdir -- "$place"
    for entry in "${entries[@]}"; do mv -- "$1/$entry" "$place"; done
  fi
  warn "$1 was left by an attempt that did not finish (no stamp vouches for it): set aside as $place"
}

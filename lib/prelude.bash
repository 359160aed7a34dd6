# The ground every script stands on: strict mode, locale, knobs, messages, and where this run keeps things.
# It defines and checks; it builds nothing.
# shellcheck shell=bash

# A closed stdin, stdout or stderr would be the next file that is opened: what is said would go there, or wait for ever.
[[ -e /dev/fd/0 ]] || exec </dev/null
[[ -e /dev/fd/1 ]] || exec >/dev/null
[[ -e /dev/fd/2 ]] || exec 2>/dev/null

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

# What is said holds no password: an address that somebody gave may have one in it.
say() { masked "$2" && printf '%s %s\n' "$1" "$REPLY" >&2; }
note() { say '==>' "$*"; }
warn() { say 'warning:' "$*"; }
# die CODE MESSAGE [HINT]
die() {
  say error: "$2"
  [[ -z ${3-} ]] || say hint: "$3"
  exit "$1"
}

# needs PROGRAM…: stops if one of them is not there, and names all that are not.
needs() {
  local name missing=''
  for name; do type -P "$name" >/dev/null || missing+="$name "; done
  [[ -z $missing ]] ||
    die "$EXIT_PREREQUISITE" "missing: ${missing% }" \
      "install them with the system's package manager (Debian: coreutils findutils grep procps sed util-linux git)"
}

source "$(dirname "${BASH_SOURCE[0]}")/../env.sh"
# Nothing can be said, logged or locked without these.
needs basename cat cut date df dirname env find flock grep head ls mkdir mktemp mv ps rm sed sleep tail tee
export "${KNOBS[@]}"
cd "$REPRO_ROOT"

# shellcheck disable=SC2034
STEPS=(steps/[0-9][0-9]-*.sh)
TOOL=$REPRO_ROOT/.venv/bin
RUN_STATE=.repro/runs/$RUN_NAME
ARTIFACTS=artifacts/$RUN_NAME

# Nothing that a step starts keeps its lock (9): what outlives a killed step must not look like the step at work.
repro() { "$TOOL/trm-repro" "$@" 9>&-; }

# A path as people read it: without this repository's own.
short() { printf '%s\n' "${1#"$REPRO_ROOT"/}"; }

# The header comment of the calling script, up to the first blank line.
help_text() { sed -n '2,/^$/{s/^# \{0,1\}//;/^$/q;p}' "$0"; }

source "$REPRO_ROOT/lib/step.bash"
source "$REPRO_ROOT/lib/run.bash"
source "$REPRO_ROOT/lib/shared.bash"
source "$REPRO_ROOT/lib/guard.bash"
source "$REPRO_ROOT/lib/environment.bash"

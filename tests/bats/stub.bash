#!/usr/bin/env bash
# A stub: stands on PATH under the name of a program of the training environment, and answers as the test planned.
#
# $STUBS/plan has the calls that must come, one a line, in order: the words, quoted as `printf %q` does it, a tab, and
# what to do. $STUBS/answers has the calls that may come at any time: a glob for the words joined by blanks, a tab, and
# what to do; the last that fits counts. Every call is noted in $STUBS/calls, one that fits neither in
# $STUBS/surprises.
# shellcheck disable=SC2329 # the functions are what a plan's actions call
set -euo pipefail
# What a test set for the stubs does not reach the builder and the training, nor do they know it.
if [[ -z ${STUBS-} ]]; then
  set -a
  # shellcheck source=/dev/null
  source "$HOME/.stubs"
  exec "$0" "$@"
fi
HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
source "$HERE/venv.bash"

# pip_install_lock WORDS…: what a locked installation leaves: each distribution's record, and CUDA's folder.
pip_install_lock() {
  mkdir -p "$(dirname "$0")/../lib/python3.10/site-packages/nvidia/cu13/lib"
  "$STANDIN_PYTHON" "$HERE/install.py" "$(dirname "$0")/.." "${@: -1}"
}

# real_python WORDS…: runs them with a Python that has the standard library and the stand-in packages only.
real_python() { PYTHONPATH=${PYTHONPATH:+$PYTHONPATH:}$STANDIN_SITE "$STANDIN_PYTHON" "$@"; }

# real_torchrun WORDS…: starts the processes that torchrun starts, and fails as it does when one of them fails.
real_torchrun() {
  local count rank pid code=0 pids=()
  while [[ $1 == --* ]]; do
    case $1 in
      --nproc-per-node) count=$2 && shift ;;
      --nproc_per_node=*) count=${1#*=} ;;
    esac
    shift
  done
  for ((rank = 0; rank < count; rank++)); do
    RANK=$rank LOCAL_RANK=$rank WORLD_SIZE=$count real_python "$@" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do
    wait "$pid" || {
      (($? != 137)) || echo "  exitcode  : -9 (pid: $pid)" >&2
      code=1
    }
  done
  ((code == 0)) || echo 'torch.distributed.elastic.multiprocessing.errors.ChildFailedError: pretrain.py FAILED' >&2
  return "$code"
}

call=$(printf '%q ' "${0##*/}" "$@")
call=${call% }
printf '%s\n' "$call" >>"$STUBS/calls"

next=$(($(<"$STUBS/done") + 1))
IFS=$'\t' read -r expected action < <(sed -n "${next}p" "$STUBS/plan") || true
if [[ -n $expected && $call == "$expected" ]]; then
  echo "$next" >"$STUBS/done"
  eval "$action"
  exit
fi
plain="${0##*/} $*" found=''
plain=${plain% }
while IFS=$'\t' read -r pattern action; do
  # shellcheck disable=SC2053 # a pattern is meant
  [[ $plain != $pattern ]] || found=$action
done <"$STUBS/answers"
if [[ -n $found ]]; then
  eval "$found"
  exit
fi
printf 'called: %s\nnext in the plan: %s\n' "$call" "${expected:-nothing}" >>"$STUBS/surprises"
echo "stub: not planned: $call" >&2
exit 127

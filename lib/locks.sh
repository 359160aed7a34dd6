#!/usr/bin/env bash
# Usage: lib/locks.sh [NAME…]
# Summary: Make locks/NAME.txt from locks/NAME.in: every package of a training environment, with its digests.
# Reads: locks/*.in, the package registry.
# Writes: locks/cu130.txt, locks/cu126.txt, those of the families that have their own, locks/adam-atan2.txt (or those
#   named).
# Guarantees: for Python 3.10 on Linux x86-64; versions already locked are kept, unless UPGRADE=1.
# Exit: 0 done · 5 the registry cannot satisfy a list

source "$(dirname "${BASH_SOURCE[0]}")/prelude.bash"

UV=0.13.8 # the one version that makes locks; it is no part of any environment

main() {
  local name only
  [[ ${1-} != --help ]] || { help_text && exit 0; }
  [[ -x .repro/uv/bin/uv ]] || { python3 -m venv .repro/uv && .repro/uv/bin/pip install --quiet "uv==$UV"; }
  (($#)) || set -- cu130 cu126 cu130-trelis cu126-trelis cu130-nvarc cu126-nvarc adam-atan2
  cd locks
  for name; do
    note "locks/$name.txt"
    only=()
    [[ $name != adam-atan2 ]] || only=(--no-deps) # what it needs is in the other locks, and its metadata needs torch
    ../.repro/uv/bin/uv pip compile --quiet --no-config --python-version 3.10 --python-platform x86_64-manylinux_2_28 \
      --generate-hashes --custom-compile-command 'make locks' ${UPGRADE:+--upgrade} \
      "${only[@]}" "$name.in" --output-file "$name.txt" >/dev/null ||
      die "$EXIT_COMMAND" "locks/$name.in cannot be satisfied" "see above"
  done
}

main "$@"

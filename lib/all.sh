#!/usr/bin/env bash
# Usage: lib/all.sh      (make all)
# Summary: All steps in order. Those that are fresh at the beginning are told by one question, and not started.
# Exit: that of the first step that fails

source "$(dirname "${BASH_SOURCE[0]}")/prelude.bash"

main() {
  local fresh step
  [[ ${1-} != --help ]] || { help_text && exit 0; }
  fresh=$(repro step fresh) || exit
  [[ -z $fresh ]] || printf '%s\n' "$fresh"
  for step in "${STEPS[@]:$(grep -c . <<<"$fresh")}"; do "$step"; done
}

main "$@"

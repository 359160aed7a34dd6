#!/usr/bin/env bash
# Usage: lib/askpass.sh PROMPT      (git calls it: GIT_ASKPASS)
# Summary: Tell git the user or the password that the address in TRM_REMOTE holds, and its host only.
# Environment: TRM_REMOTE
# Exit: 0 told · 1 nothing to tell

set -o errexit -o nounset -o pipefail

# decoded TEXT: its %XX as the bytes they stand for.
decoded() {
  local LC_ALL=C rest=$1
  while [[ $rest =~ ^([^%]*)%([0-9A-Fa-f]{2})?(.*)$ ]]; do
    printf '%s' "${BASH_REMATCH[1]}"
    if [[ -n ${BASH_REMATCH[2]} ]]; then printf '%b' "\\x${BASH_REMATCH[2]}"; else printf '%%'; fi
    rest=${BASH_REMATCH[3]}
  done
  printf '%s\n' "$rest"
}

main() {
  local scheme who host
  [[ ${TRM_REMOTE-} =~ ^(https?://)([^/?#]*)@([^/?#@]*) ]] || exit 1
  scheme=${BASH_REMATCH[1]} who=${BASH_REMATCH[2]} host=${BASH_REMATCH[3]}
  case $1 in
    "Username for '$scheme$host'"* | "Username for '$scheme$host/"*) decoded "${who%%:*}" ;;
    "Password for '$scheme"*"@$host'"* | "Password for '$scheme"*"@$host/"*) decoded "${who#*:}" ;;
    *) exit 1 ;; # git was sent to another place: that one is told nothing
  esac
}

main "$@"

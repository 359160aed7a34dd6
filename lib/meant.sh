#!/usr/bin/env bash
# Usage: lib/meant.sh WORD      (make WORD, where it is none of make's)
# Summary: Say which word of make was meant.
# Exit: 2

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
words=$(sed -n 's/^\([a-z-]*\):.*## .*/\1/p' Makefile) # a step's word is a variable there
words+=$(printf ' step-%s' {1..8})
# shellcheck disable=SC2016
near='import difflib, sys; print(*difflib.get_close_matches(sys.argv[1], sys.argv[2].split(), 1))'
near=$(python3 -c "$near" "$1" "$words" 2>/dev/null)
printf 'error: make has no word %q\nhint: %s\n' "$1" "${near:+did you mean make $near? }make help lists them" >&2
exit 2

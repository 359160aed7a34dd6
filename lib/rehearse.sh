#!/usr/bin/env bash
# Usage: [ENGINE=upstream] [LIGHT=0] lib/rehearse.sh      (make rehearse)
# Summary: All eight steps at toy scale, and what came of it: with the reference engine, or with upstream itself.
#   ENGINE=upstream takes the GPUs where there are some, else a CPU and the tool environment's packages;
#   LIGHT=0 there: those of the real run.
# Exit: that of the first step that fails

set -euo pipefail

# before the knobs are read: their defaults are the recipe's
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ ${1-} != --help ]]; then
  RECIPE=$(.venv/bin/trm-repro step rehearsal ${ENGINE:+--engine "$ENGINE"} ${LIGHT:+--light "$LIGHT"})
  export RECIPE
fi

source lib/prelude.bash

main() {
  [[ ${1-} != --help ]] || { help_text && exit 0; }
  lib/all.sh
  repro step summary
}

main "$@"

#!/usr/bin/env bash
# Usage: machines/packages.sh
# Summary: What the runbook needs of a Debian or Ubuntu, where it is missing: git, make, g++, ps, both Pythons.
# Writes: system packages, as root or through sudo; which Python the tools are to use, on stdout.
# Guarantees: what is there is left alone. A Python 3.10 that the distribution does not have is not an error here: only
#   upstream's recipes need it, and step 1 says so.
# Exit: 0 done · 3 packages are missing, and only root can install them · 100 apt-get failed

set -euo pipefail

main() {
  local name wanted=()
  for name in git make g++ ps:procps; do
    command -v "${name%:*}" >/dev/null || wanted+=("${name#*:}")
  done
  [[ -n $(tool_python) ]] || wanted+=(python3.11-dev python3.11-venv)
  if ((${#wanted[@]})) || ! command -v python3.10 >/dev/null; then
    install_packages "${wanted[@]}"
  fi
  tool_python
}

# The first Python that is new enough for the tools, and can make a virtual environment.
tool_python() {
  local name
  for name in python3 python3.13 python3.12 python3.11; do
    if "$name" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      printf '%s\n' "$name"
      return
    fi
  done
}

install_packages() {
  local as_root=() wanted=("$@")
  if ((EUID != 0)); then
    as_root=(sudo --non-interactive)
    "${as_root[@]}" true 2>/dev/null || { refuse "$@" && return; }
  fi
  "${as_root[@]}" apt-get update --quiet=2 >&2
  if ! command -v python3.10 >/dev/null; then
    if [[ -n $(apt-cache search --names-only '^python3\.10-venv$') ]]; then
      wanted+=(python3.10-dev python3.10-venv)
    else
      printf '%s\n' "warning: this distribution has no Python 3.10, which upstream's recipes need" \
        "hint: Ubuntu 22.04 has it, and so has machines/Dockerfile" >&2
    fi
  fi
  ((${#wanted[@]})) || return 0
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install --yes --quiet=2 --no-install-recommends ca-certificates "${wanted[@]}" >&2
}

# Nobody here may install: no harm if nothing but Python 3.10 is missing.
refuse() {
  (($#)) || return 0
  echo "error: missing: $*; only root can install them" >&2
  exit 3
}

main "$@"

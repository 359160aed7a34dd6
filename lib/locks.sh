#!/usr/bin/env bash
# Usage: lib/locks.sh [NAME…]
# Summary: Make locks/*.txt: every package of the training environments, and of the tool's own, with its digests.
# Reads: locks/*.in, pyproject.toml, the package registry.
# Writes: locks/cu130.txt, locks/cu126.txt, those of the families that have their own, locks/adam-atan2.txt;
#   locks/tool*.txt (NAME: tool); or those named.
# Guarantees: the training's for Python 3.10 on Linux x86-64, the tool's for Python 3.11 on and every system; versions
#   already locked are kept, unless UPGRADE=1.
# Exit: 0 done · 5 the registry cannot satisfy a list

source "$(dirname "${BASH_SOURCE[0]}")/prelude.bash"

UV=0.13.8 # the one version that makes locks; it is no part of any environment

main() {
  local name only
  [[ ${1-} != --help ]] || { help_text && exit 0; }
  [[ -x .repro/uv/bin/uv ]] || { python3 -m venv .repro/uv && .repro/uv/bin/pip install --quiet "uv==$UV"; }
  (($#)) || set -- tool cu130 cu126 cu130-trelis cu126-trelis cu130-nvarc cu126-nvarc adam-atan2
  cd locks
  for name; do
    note "locks/$name.txt"
    [[ $name != tool ]] || { tool_locks && continue; }
    only=()
    [[ $name != adam-atan2 ]] || only=(--no-deps) # what it needs is in the other locks, and its metadata needs torch
    ../.repro/uv/bin/uv pip compile --quiet --no-config --python-version 3.10 --python-platform x86_64-manylinux_2_28 \
      --generate-hashes --custom-compile-command 'make locks' ${UPGRADE:+--upgrade} \
      "${only[@]}" "$name.in" --output-file "$name.txt" >/dev/null ||
      die "$EXIT_COMMAND" "locks/$name.in cannot be satisfied" "see above"
  done
}

# The tool's own: what builds a source, torch, and what only its CUDA builds need, in files of their own; and what only
# the tests and checks need. The CPU builds (tool-torch-cpu.txt) are not in every registry, and are written by hand.
tool_locks() {
  local all had keep=()
  all=$(mktemp) had=$(mktemp)
  sed -n '/+cpu/d; s/^\([^ ]*==[^ \\]*\).*/\1/p' tool*.txt >"$had"
  [[ -n ${UPGRADE-} ]] || keep=(--constraint "$had")
  compile_tool dev "${keep[@]}" --output-file "$all"
  sed -n 's/^\([^ ]*==[^ \\]*\).*/\1/p' "$all" >"$had"
  compile_tool steps --constraint "$had" --output-file tool.txt
  blocks '^setuptools==' <"$all" >tool-build.txt
  blocks '^torch==' <"$all" >tool-torch.txt
  blocks '^(nvidia-|cuda-|triton==)' <"$all" >tool-cuda.txt
  blocks '^(setuptools==|torch==|nvidia-|cuda-|triton==)' v <tool.txt >"$had"
  mv "$had" tool.txt && chmod 644 tool.txt
  # what is in the other list is in the environment already
  blocks "^(setuptools|torch|$(sed -n 's/^\([a-z0-9][^=]*\)==.*/\1/p' tool.txt tool-cuda.txt | paste -sd'|'))==" v \
    <"$all" >tool-dev.txt
  rm "$all"
}

# compile_tool EXTRA OPTION…
compile_tool() {
  ../.repro/uv/bin/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
    --custom-compile-command 'make locks' --no-annotate --extra "$@" ../pyproject.toml >/dev/null ||
    die "$EXIT_COMMAND" "pyproject.toml cannot be satisfied" "see above"
}

# blocks PATTERN [v]: the comment at the top, and the packages whose first line fits (v: does not fit).
blocks() {
  awk -v pattern="$1" -v invert="${2-}" '
    /^#/ { if (!seen) print; next }
    /^[^ ]/ { seen = 1; keep = ($0 ~ pattern) != (invert != "") }
    keep'
}

main "$@"

#!/usr/bin/env bash
# Runs test files side by side, each file's results printed whole and in order: what bats needs of GNU parallel, for
# machines without it. bats --jobs N --parallel-binary-name …/parallel.bash calls it as
#   parallel.bash --keep-order --jobs N … -- bats-exec-file FLAGS '{#}' '{}' LIST    with a file name a line on stdin
set -euo pipefail
jobs=1
while [[ $1 != -- ]]; do
  [[ $1 != --jobs ]] || jobs=$2
  shift
done
shift
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

# print_done: prints the results that are whole, as far as no earlier one is missing.
next=0
print_done() {
  while [[ -e $results/$next.done ]]; do
    cat "$results/$next"
    next=$((next + 1))
  done
}

mapfile -t files
for i in "${!files[@]}"; do
  while (($(jobs -rp | wc -l) >= jobs)); do wait -n || true; done
  print_done
  (
    # FLAGS is one word of quoted words, so a shell has to read it
    eval "$1 $2 $((i + 1)) ${files[i]@Q} ${5@Q}" >"$results/$i" 2>&1 || touch "$results/failed"
    touch "$results/$i.done"
  ) &
done
wait
print_done
[[ ! -e $results/failed ]]

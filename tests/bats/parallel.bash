#!/usr/bin/env bash
# Runs test files side by side, the longest first, each file's results printed whole, and at the end the ten slowest
# tests: what bats needs of GNU parallel, for machines without it. bats --jobs N --parallel-binary-name …/parallel.bash
# calls it, with a file name a line on stdin, as
#   parallel.bash --keep-order --jobs N … -- bats-exec-file FLAGS '{#}' '{}' LIST
set -euo pipefail
# The files that last, measured; the others fill the gaps.
longest=(rehearsal rehearsal-upstream machines families step-03-venv train-failures step-07-publish step-05-train stamps
  step-06-verify step-04-dataset interruption flows prelude train-signals limit)
jobs=1
while [[ $1 != -- ]]; do
  [[ $1 != --jobs ]] || jobs=$2
  shift
done
shift
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

declare -A rank
for i in "${!longest[@]}"; do rank[${longest[i]}]=$i; done

# by_length: the numbered files on stdin, the longest first.
by_length() {
  local number file name
  while IFS=$'\t' read -r number file; do
    name=${file##*/}
    printf '%s\t%s\t%s\n' "${rank[${name%.bats}]-99}" "$number" "$file"
  done | sort --key=1,1n --key=2,2n | cut -f2-
}

files=$(nl --body-numbering=a --number-width=1 | by_length)
while IFS=$'\t' read -r number file; do
  while (($(jobs -rp | wc -l) >= jobs)); do wait -n || true; done
  (
    # FLAGS is one word of quoted words, so a shell has to read it
    eval "$1 $2 $number ${file@Q} ${5@Q}" >"$results/$number" 2>&1 </dev/null || touch "$results/failed"
    flock "$results" cat "$results/$number"
  ) &
done <<<"$files"
wait
echo '# the slowest:'
{ grep -hE '^(not )?ok .* in [0-9]+ms' "$results"/[0-9]* || true; } |
  sed -E 's/^(not )?ok [0-9]+ (.*) in ([0-9]+)ms.*/\3\t\2/' | sort -rn | sed -n 1,10p |
  while IFS=$'\t' read -r milliseconds name; do printf '# %6.1f s  %s\n' "${milliseconds}e-3" "$name"; done
[[ ! -e $results/failed ]]

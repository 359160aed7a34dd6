#!/usr/bin/env bash
# Usage: tests/sky.sh
# Summary: Every recipe's job for the clouds, read by the real SkyPilot, and each cloud in it asked whether it can do
#   that.
# Reads: the package registry.
# Writes: an environment of its own below .repro/, deleted at the end (KEEP=1 keeps it). Nothing is launched.
# Exit: 0 so it is · not 0 otherwise

set -euo pipefail
cd "$(dirname "$0")/.."
work=$PWD/.repro/test-sky
SKYPILOT=0.14.1

main() {
  local recipe
  [[ -n ${KEEP-} ]] || trap 'rm -rf "$work"' EXIT
  mkdir -p "$work/jobs"
  if [[ ! -x $work/venv/bin/sky ]]; then
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check "skypilot==$SKYPILOT"
  fi
  for recipe in $(cd recipes && printf '%s\n' *.yaml | sed 's/\.yaml$//'); do
    .venv/bin/trm-repro job sky --recipe "$recipe" --bucket mine >"$work/jobs/$recipe-bucket.yaml"
    .venv/bin/trm-repro job sky --recipe "$recipe" --volume mine >"$work/jobs/$recipe-volume.yaml"
  done
  HOME=$work SKYPILOT_DISABLE_USAGE_COLLECTION=1 "$work/venv/bin/python" - "$work"/jobs/*.yaml <<'PYTHON'
import subprocess
import sys

import sky
from sky.data import storage_utils

left_out = set(storage_utils.get_excluded_files("."))
tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.splitlines()
assert {".venv", ".repro"} <= left_out and not left_out & set(tracked), left_out
asked = 0
for path in sys.argv[1:]:
    task = sky.Task.from_yaml(path)
    for resources in task.resources:
        needed = task.get_required_cloud_features() | resources.get_required_cloud_features()
        resources.cloud.check_features_are_supported(resources, needed)
        asked += 1
print(f"SkyPilot {sky.__version__} reads {len(sys.argv) - 1} jobs; their clouds can do what {asked} places ask for")
PYTHON
}

main "$@"

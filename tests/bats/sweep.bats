#!/usr/bin/env bats
# make sweep, with a step that stands in for all eight: in which order, what stops it, and how it goes on.

load helper

setup() {
  make_runbook "$BATS_TEST_TMPDIR"
  rm steps/*.sh
  cat >steps/08-all.sh <<'BASH'
#!/usr/bin/env bash
source "$(dirname "$0")/../lib/prelude.bash"
printf '%s %s %s %s\n' "$RECIPE" "$RUN_NAME" "$PUBLISH_TO_KAGGLE" "$PUBLISH_TO_HF" >>"$STUBS/ran"
[[ ! -e $STUBS/fails-$RECIPE ]] || exit 5
[[ ! -e $ARTIFACTS/manifest.json ]] || { echo "08-all: fresh" && exit; }
if [[ -e $STUBS/pauses-$RECIPE ]]; then touch "$STUBS/pausing" && sleep 60; fi
mkdir -p "$ARTIFACTS"
echo 'arch: {H_cycles: 3, L_cycles: 4, halt_max_steps: 4}' >"$ARTIFACTS/config.yaml"
echo '{"evaluations": [{"votes": 2, "interval": [0.1, 0.9]}]}' >"$ARTIFACTS/verdict.json"
"$STANDIN_PYTHON" - "$ARTIFACTS" <<'PYTHON'
import json, sys
held = json.load(open("golden.json"))
roles = ("config", "final-checkpoint")
held["outputs"] = [entry for entry in held["outputs"] if entry["role"] not in roles]
for role in roles:
    held["outputs"] += [{"role": role, "path": f"{sys.argv[1]}/config.yaml", "sha256": "0" * 64, "bytes": 1}]
json.dump(held, open(f"{sys.argv[1]}/manifest.json", "w"))
PYTHON
BASH
  cp "$REPO/tests/golden/bundles/v1/manifest.json" golden.json
  chmod +x steps/08-all.sh
  sed -i '/^evaluations/,$d' recipes/sweeps/cycles-rehearsal.yaml
  FIRST='arc2-rehearsal arc2_rehearsal 0 0' SECOND='arc2-rehearsal-h3l6 arc2_rehearsal_h3l6 0 0'
}

sweep() { in_runbook PUBLISH_TO_KAGGLE=1 PUBLISH_TO_HF=1 RUN_NAME=mine lib/sweep.sh cycles-rehearsal; }

@test "each recipe is run under its own names, nothing is uploaded, and the table is written" {
  sweep
  assert_success
  assert_equal "$(<"$STUBS/ran")" "$FIRST"$'\n'"$SECOND"
  assert_output --partial 'recipe 2 of 2: arc2-rehearsal-h3l6'
  assert_in_file "| arc2-rehearsal-h3l6 | H_cycles=3 L_cycles=4 halt_max_steps=4 | as in training | no | 2 | 25.00 % \
| 50.00 % (10.0 to 90.0) | 5.00 % |" \
    artifacts/sweep-cycles-rehearsal.md
  assert_in_file '* `arc2-rehearsal-h3l6`: TOO LITTLE TO TELL: pass@2' artifacts/sweep-cycles-rehearsal.md
}

@test "a recipe that fails keeps none of the others from being run; its code is the sweep's; the same command goes on" {
  touch "$STUBS/fails-arc2-rehearsal"
  sweep
  assert_failure 5
  assert_output --partial 'arc2-rehearsal failed (code 5'
  assert_in_file '| arc2-rehearsal | not finished |' artifacts/sweep-cycles-rehearsal.md
  assert_in_file '| arc2-rehearsal-h3l6 | H_cycles=3' artifacts/sweep-cycles-rehearsal.md
  rm "$STUBS/fails-arc2-rehearsal"
  sweep
  assert_success
  assert_output --partial '08-all: fresh'
  assert_in_file '| arc2-rehearsal | H_cycles=3' artifacts/sweep-cycles-rehearsal.md
}

@test "killed in the middle, the same command goes on where it was" {
  touch "$STUBS/pauses-arc2-rehearsal-h3l6"
  in_background lib/sweep.sh cycles-rehearsal
  wait_for "$STUBS/pausing"
  kill -KILL -- "-$BACKGROUND"
  refute_file artifacts/sweep-cycles-rehearsal.md
  rm "$STUBS/pauses-arc2-rehearsal-h3l6"
  sweep
  assert_success
  [[ $(grep -c ': fresh$' <<<"$output") == 1 ]] ||
    fail "$(shown 'expected the first recipe to be fresh, and the second not')"
  assert_file artifacts/sweep-cycles-rehearsal.md
}

@test "a signal stops the whole sweep, not one recipe of it" {
  printf '#!/usr/bin/env bash\necho "$RECIPE" >>"$STUBS/ran"\nexit 130\n' >steps/08-all.sh
  sweep
  assert_failure 130
  assert_equal "$(<"$STUBS/ran")" arc2-rehearsal
}

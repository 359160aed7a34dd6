#!/usr/bin/env bats
# Step 6 checks what the training left, scores it again, and says what it is worth (D-35).

load helper
setup_file() {
  make_runbook "$BATS_FILE_TMPDIR"
  built
  clean_environment steps/05-train.sh >/dev/null 2>&1
}
setup() {
  cd "$RUNBOOK" || return
  UPSTREAM=$RUNBOOK/upstream/TinyRecursiveModels
}
folder() { echo "$UPSTREAM"/checkpoints/*/trm_arc2_paper_repro; }

@test "a table of checks and evaluations, the votes said plainly, the word, and the file (D-35)" {
  in_runbook steps/06-verify.sh
  assert_success
  assert_output --partial 'ok      step_723914'
  assert_output --partial '33.33 %   6.15 % to 79.23 %    33.33 %  2   last'
  assert_output --partial 'votes accumulated over 2 evaluations'
  assert_output --partial 'published: 7.80 %'
  assert_output --partial 'verdict: '
  assert_in_file '"format": "trm-repro/verdict/v1"' artifacts/trm_arc2_paper_repro/verdict.json
  assert_in_file 'artifacts/trm_arc2_paper_repro/verdict.json' .repro/runs/trm_arc2_paper_repro/06-verify.stamp
}

@test "a changed configuration is found: exit 4, no stamp, the finding by name" {
  sed -i 's/L_cycles: 4/L_cycles: 6/' "$(folder)/all_config.yaml"
  in_runbook steps/06-verify.sh --force
  assert_failure 4
  assert_output --partial 'BROKEN  configuration                  arch.L_cycles: expected 4, found 6'
  assert_output --partial 'verdict: not comparable'
  refute_file .repro/runs/trm_arc2_paper_repro/06-verify.stamp
  sed -i 's/L_cycles: 6/L_cycles: 4/' "$(folder)/all_config.yaml"
}

@test "a checkpoint that was cut off is found" {
  truncate -s -1000000 "$(folder)/step_723914"
  in_runbook steps/06-verify.sh --force
  assert_failure 4
  assert_output --partial 'BROKEN  step_723914'
}

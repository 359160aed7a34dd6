#!/usr/bin/env bats
# Step 6: which checkpoint is the final one, what is written down about the run, and what the run is worth.

setup_file() {
  load helper
  make_runbook "$BATS_FILE_TMPDIR"
  done_until 6
  cp "$STUBS/output" "$BATS_FILE_TMPDIR/said"
}

setup() {
  load helper
  cd "$RUNBOOK" || return
  FOLDER=upstream/TinyRecursiveModels/checkpoints/Arc2concept-aug-1000-ACT-torch/trm_arc2_paper_repro
}

@test "COMMANDS.txt has every command as it was started, in order, with its exit code (D-10)" {
  assert_equal "$(sed -n 's/^# \([^,]*\), in .*/\1/p' "$FOLDER/COMMANDS.txt" | uniq | tr '\n' ' ')" \
    '02-clone 03-venv 04-dataset 05-train '
  assert_equal "$(tail -n 1 "$FOLDER/COMMANDS.txt")" "torchrun --nproc-per-node 4 --rdzv_backend=c10d \
--rdzv_endpoint=localhost:0 --nnodes=1 pretrain.py arch=trm 'data_paths=[data/arc2concept-aug-1000]' arch.L_layers=2 \
arch.H_cycles=3 arch.L_cycles=4 +run_name=trm_arc2_paper_repro ema=True"
}

@test "a table of checks and evaluations, the votes said plainly, the word, and the file (D-35)" {
  output=$(<"$BATS_FILE_TMPDIR/said")
  assert_output --partial 'ok      step_723914'
  assert_output --partial '33.33 %   6.15 % to 79.23 %    33.33 %  2   last'
  assert_output --partial 'votes accumulated over 2 evaluations'
  assert_output --partial 'published: 7.80 %'
  assert_output --partial 'verdict: '
  assert_in_file '"format": "trm-repro/verdict/v1"' artifacts/trm_arc2_paper_repro/verdict.json
  assert_in_file 'artifacts/trm_arc2_paper_repro/verdict.json' .repro/runs/trm_arc2_paper_repro/06-verify.stamp
}

@test "the manifest of an untouched run is faithful; each output has its digest" {
  assert_in_file '"faithful": true' artifacts/manifest.json
  assert_in_file "$(sha256sum "$FOLDER/step_723914" | cut -d' ' -f1)" artifacts/manifest.json
  assert_equal "$(readlink artifacts/manifest.json)" trm_arc2_paper_repro/manifest.json
}

@test "the final checkpoint has the highest step, and is not the newest file (D-09)" {
  sleep 0.01
  touch "$FOLDER/step_361957" "$FOLDER/evaluator_ARC_step_361957" "$FOLDER/losses.py"
  in_runbook steps/06-verify.sh --force
  assert_success
  assert_in_file "CKPT=$FOLDER/step_723914" .repro/summary_trm_arc2_paper_repro.txt
  assert_in_file "CKPT=$FOLDER/step_723914" artifacts/MANIFEST.txt
}

@test "a guard that was overridden makes the run unfaithful, for that reason" {
  echo '# changed' >>upstream/TinyRecursiveModels/models/losses.py
  in_runbook OVERRIDE=G-UPSTREAM-UNMODIFIED steps/06-verify.sh --force
  git -C upstream/TinyRecursiveModels checkout --quiet -- models/losses.py
  assert_success
  assert_in_file '"faithful": false' artifacts/manifest.json
  assert_in_file \
    'G-UPSTREAM-UNMODIFIED was overridden: tracked files of upstream differ from the pin: models/losses.py' \
    artifacts/manifest.json
}

@test "a changed configuration, a submission that lacks an input and a checkpoint cut off are found: exit 4, no stamp" {
  cp -a "$FOLDER" "$BATS_TEST_TMPDIR/kept"
  sed -i 's/L_cycles: 4/L_cycles: 6/' "$FOLDER/all_config.yaml"
  "$STANDIN_PYTHON" -c 'import json, sys
p = sys.argv[1]; s = json.load(open(p)); s.popitem(); json.dump(s, open(p, "w"))' \
    "$FOLDER/evaluator_ARC_step_723914/submission.json"
  truncate --size=-1000 "$FOLDER/step_723914"
  in_runbook steps/06-verify.sh --force
  rm -r "$FOLDER" && mv "$BATS_TEST_TMPDIR/kept" "$FOLDER"
  assert_failure 4
  assert_output --partial 'BROKEN  configuration                  arch.L_cycles: expected 4, found 6'
  assert_output --partial 'BROKEN  evaluator_ARC_step_723914      task 0e000003: missing'
  assert_output --partial 'BROKEN  step_723914'
  assert_output --partial 'verdict: not comparable'
  refute_file .repro/runs/trm_arc2_paper_repro/06-verify.stamp
}

@test "a file of the training that cannot be read: exit 4, it is named, and no manifest of an earlier attempt is left" {
  [[ -f artifacts/trm_arc2_paper_repro/manifest.json ]] || in_runbook steps/06-verify.sh --force
  assert_file artifacts/trm_arc2_paper_repro/manifest.json
  cp "$FOLDER/all_config.yaml" "$BATS_TEST_TMPDIR"
  echo '{' >>"$FOLDER/all_config.yaml"
  in_runbook steps/06-verify.sh --force
  mv "$BATS_TEST_TMPDIR/all_config.yaml" "$FOLDER"
  assert_failure 4
  assert_output --partial 'trm_arc2_paper_repro/all_config.yaml: '
  refute_file artifacts/trm_arc2_paper_repro/manifest.json
  refute_file artifacts/trm_arc2_paper_repro/statement.json
}

@test "without a checkpoint there is nothing to verify" {
  mkdir "$BATS_TEST_TMPDIR/kept"
  mv "$FOLDER"/step_* "$BATS_TEST_TMPDIR/kept"
  in_runbook steps/06-verify.sh --force
  mv "$BATS_TEST_TMPDIR"/kept/* "$FOLDER"
  assert_failure 3
  assert_output --partial 'no checkpoint (step_<N>) found'
}

#!/usr/bin/env bats
# What is fresh, what is stale, and why: decided by content. The tests share one run of steps 1 to 5; each puts back
# what it changed.

setup_file() {
  load helper
  make_runbook "$BATS_FILE_TMPDIR"
  done_until 5
}

setup() {
  load helper
  cd "$RUNBOOK" || return
  RUN=.repro/runs/trm_arc2_paper_repro
  : >"$STUBS/calls"
}

# stale STEP WHY [NAME=VALUE…]: the step is not fresh, and says so in these words, before it looks for a voucher.
stale() {
  in_runbook "${@:3}" bash -c 'source lib/prelude.bash && repro step begin "$1" 2>&1 >/dev/null' - "$1"
  assert_success
  assert_equal "${output%%$'\n'*}" "==> $1: $2"
}
# fresh STEP [NAME=VALUE…]
fresh() {
  in_runbook "${@:2}" bash -c 'source lib/prelude.bash && repro step begin "$1"' - "$1"
  assert_success
  assert_output "$1: fresh"
}

@test "a second run finds every step fresh and starts nothing" {
  local step
  for step in steps/0[1-5]-*.sh; do
    in_runbook "$step"
    assert_success
    assert_output "$(basename "$step" .sh): fresh"
  done
  assert_equal "$(<"$STUBS/calls")" ''
  in_runbook bash -c 'source lib/prelude.bash && repro step fresh'
  assert_output "$(basename -s .sh steps/0[1-5]-*.sh | sed 's/$/: fresh/')"
}

@test "a changed script makes its step stale, and no other" {
  echo '# changed' >>steps/04-dataset.sh
  stale 04-dataset 'changed since: script'
  fresh 05-train
  git checkout --quiet steps
  fresh 04-dataset
}

@test "a changed recipe makes every step stale" {
  sed -i 's/^title: .*/title: another/' recipes/arc2-paper.yaml
  stale 01-sanity 'changed since: recipe'
  stale 05-train 'changed since: recipe'
  git checkout --quiet recipes
  fresh 05-train
}

@test "a changed knob makes the steps stale that name it" {
  stale 05-train 'changed since: knobs' MAX_GPUS_TO_USE=2
  fresh 04-dataset MAX_GPUS_TO_USE=2
  stale 03-venv 'changed since: knobs' TORCH_INDEX_URL=https://elsewhere
  fresh 05-train WANDB_API_KEY=0123456789abcdef
}

@test "a changed, a missing and a cut-off output make its step stale" {
  local file=upstream/TinyRecursiveModels/data/arc2concept-aug-1000/test_puzzles.json
  cp -p "$file" "$BATS_TEST_TMPDIR/kept"
  echo >>"$file"
  stale 04-dataset "outputs changed: different: $file: \
expected sha256 $(sha256sum "$BATS_TEST_TMPDIR/kept" | cut -d' ' -f1), 804 bytes; \
found $(sha256sum "$file" | cut -d' ' -f1), 805 bytes"
  rm "$file"
  stale 04-dataset "outputs changed: missing: $file"
  cp -p "$BATS_TEST_TMPDIR/kept" "$file"
  fresh 04-dataset
}

@test "an output changed behind its time and size is found (ctime)" {
  local file=upstream/TinyRecursiveModels/data/arc2concept-aug-1000/identifiers.json
  cp -p "$file" "$BATS_TEST_TMPDIR/kept"
  printf 'x' | dd of="$file" conv=notrunc status=none
  touch -r "$BATS_TEST_TMPDIR/kept" "$file"
  in_runbook bash -c 'source lib/prelude.bash && repro step begin 04-dataset'
  assert_output --partial "==> 04-dataset: outputs changed: different: $file"
  head -c 1 "$BATS_TEST_TMPDIR/kept" | dd of="$file" conv=notrunc status=none
  touch -r "$BATS_TEST_TMPDIR/kept" "$file"
  fresh 04-dataset
}

@test "half a stamp is no stamp" {
  cp "$RUN/05-train.stamp" "$BATS_TEST_TMPDIR/kept"
  head -c 300 "$BATS_TEST_TMPDIR/kept" >"$RUN/05-train.stamp"
  stale 05-train 'not done yet'
  cp "$BATS_TEST_TMPDIR/kept" "$RUN/05-train.stamp"
  fresh 05-train
}

@test "a stamp that was taken back makes the later steps stale" {
  mv "$RUN/04-dataset.stamp" "$BATS_TEST_TMPDIR/kept"
  stale 05-train 'changed since: previous'
  mv "$BATS_TEST_TMPDIR/kept" "$RUN/04-dataset.stamp"
  fresh 05-train
}

@test "another run has stamps of its own" {
  stale 01-sanity 'not done yet' RUN_NAME=another
}

@test "--force runs a fresh step again; the same result leaves the later steps fresh" {
  in_runbook steps/04-dataset.sh --force
  assert_success
  assert_output --partial 'python -m dataset.build_arc_dataset'
  fresh 05-train
}

@test "a step that fails again has lost its stamp" {
  in_runbook STANDIN_FAIL=builder steps/04-dataset.sh --force
  assert_failure 5
  refute_file "$RUN/04-dataset.stamp"
  in_runbook steps/04-dataset.sh
  assert_success
  fresh 05-train
}

@test "make status tells what is done, stale, stopped and to do, and what is next" {
  in_runbook STANDIN_FAIL=crash steps/05-train.sh --force
  echo '# changed' >>steps/03-venv.sh
  in_runbook make status
  git checkout --quiet steps
  assert_success
  [[ $output =~ 01-sanity\ +done\ +20.*Z ]] || fail "$output"
  [[ $output =~ 03-venv\ +stale.*changed\ since:\ script ]] || fail "$output"
  [[ $output =~ 05-train\ +stopped.*see\ logs/trm_arc2_paper_repro/05-train\. ]] || fail "$output"
  [[ $output =~ 06-verify\ +to\ do ]] || fail "$output"
  assert_output --partial 'next: make step-3'
}

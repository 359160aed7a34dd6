# bats file_tags=rehearsal
# The rehearsal itself, on real ARC-AGI-2 tasks with the real engine and real torchrun, at a still smaller scale.

setup_file() {
  load helper
  make_runbook "$BATS_FILE_TMPDIR"
  rm -r .venv && ln -s "$REPO/.venv" .venv             # torchrun and python as well
  cp "$REPO/recipes/base/arc-tasks.yaml" recipes/base/ # upstream's tasks, not the stand-in's
  sed -i 's/epochs=8/epochs=1/; s/eval_interval=4/eval_interval=1/' recipes/arc2-rehearsal.yaml
  git -c user.name=tester -c user.email=tester@example.invalid commit --quiet --all --message 'A smaller rehearsal'
  rehearsal make rehearse >"$BATS_FILE_TMPDIR/first" 2>&1 || { cat "$BATS_FILE_TMPDIR/first" && return 1; }
}

setup() {
  load helper
  cd "$RUNBOOK" || return
}

# On few cores, beside other tests, more threads take more of the processors' time. It runs where there is no network
# but the machine's own loopback, if such a place can be made.
rehearsal() {
  offline
  clean_environment OMP_NUM_THREADS=1 "${OFFLINE[@]}" "$@"
}

# offline: sets OFFLINE to what runs a command in a network namespace of its own, to nothing where none can be made.
offline() {
  local ip
  OFFLINE=()
  ip=$(type -P ip) && unshare --map-root-user --net "$ip" link set lo up 2>/dev/null || return 0
  # shellcheck disable=SC2016
  OFFLINE=("$(type -P unshare)" --map-root-user --net bash -c '"$0" link set lo up && exec "$@"' "$ip")
}

@test "nothing after the installation needs a network: the rehearsal below had none" {
  offline
  ((${#OFFLINE[@]})) || skip 'no network namespace can be made here (unshare --net, ip)'
  run "${OFFLINE[@]}" cat /proc/net/dev
  assert_success
  assert_equal "$(sed -n 's/^ *\([a-z0-9]*\):.*/\1/p' <<<"$output" | tr '\n' ' ')" 'lo '
  assert_in_file '08-handoff: ' "$BATS_FILE_TMPDIR/first"
}

@test "make rehearse runs all eight steps on real tasks and says what came of it" {
  local step
  for step in 01-sanity 02-clone 03-venv 04-dataset 05-train 06-verify 07-publish 08-handoff; do
    grep -q "^$step: " "$BATS_FILE_TMPDIR/first" || fail "no result of $step: $(cat "$BATS_FILE_TMPDIR/first")"
  done
  assert_in_file 'training loss: ' "$BATS_FILE_TMPDIR/first"
  assert_in_file 'pass@2 per task' "$BATS_FILE_TMPDIR/first"
  assert_in_file 'faithful: no' "$BATS_FILE_TMPDIR/first"
  assert_in_file '6/6 steps, 100 %' "$BATS_FILE_TMPDIR/first" # progress with an ETA, and what it is at
  # padding of the last batch is no example
  assert_in_file '00:00:00 left, evaluating 18 examples, 100%' "$BATS_FILE_TMPDIR/first"
  assert_file .repro/trm_commit.txt
  assert_file .repro/env_arc2_arc2_rehearsal.txt
  assert_file .repro/summary_arc2_rehearsal.txt
  assert_file artifacts/MANIFEST.txt
  assert_file artifacts/manifest.json
  assert_file .repro/work/kaggle_dataset_arc2_arc2_rehearsal/model.ckpt
  assert_file artifacts/arc2_rehearsal/notebook.ipynb
}

@test "a second rehearsal finds everything fresh" {
  run rehearsal make rehearse
  assert_success
  [[ $(grep -c ': fresh$' <<<"$output") == 8 ]] || fail "$(shown 'expected eight fresh steps')"
}

@test "the bundle of a rehearsal verifies" {
  run rehearsal .venv/bin/trm-repro verify .repro/work/kaggle_dataset_arc2_arc2_rehearsal
  assert_success
  assert_output --partial 'CONSISTENT, vouched for by nobody'
}

# bats test_tags=deep
@test "the first hour, typed word for word, says what its page says" {
  local text
  rm -rf .repro/altered
  sed -n '/^```sh$/,/^```$/{/^```/d;p}' "$REPO/docs/first-hour.md" >"$BATS_TEST_TMPDIR/page"
  # a rehearsal is done already, and another with upstream is rehearsal-upstream.bats'
  grep -vE '^make (rehearse|crosscheck)' "$BATS_TEST_TMPDIR/page" >"$BATS_TEST_TMPDIR/typed"
  [[ $(wc -l <"$BATS_TEST_TMPDIR/typed") == 7 ]] || fail "$(cat "$BATS_TEST_TMPDIR/typed")"
  run rehearsal bash "$BATS_TEST_TMPDIR/typed"
  assert_failure 1 # the last one's: ALTERED
  [[ $(git status --porcelain) != *altered* ]] || fail 'the clone is changed, and every run after it would say so'
  for text in 08-handoff 'artifacts/arc2_rehearsal/report.html' 'CONSISTENT, vouched for by nobody' \
    'ALTERED' 'submission.json: SHA256SUMS expects'; do
    assert_output --partial "$text"
  done
}

# bats test_tags=deep
@test "the first hour's library example answers a task of the rehearsal" {
  sed -n '/^```python$/,/^```$/{/^```/d;p}' "$REPO/docs/first-hour.md" >"$BATS_TEST_TMPDIR/example.py"
  assert_in_file 'predict(model' "$BATS_TEST_TMPDIR/example.py"
  run rehearsal .venv/bin/python "$BATS_TEST_TMPDIR/example.py"
  assert_success
  [[ ${lines[-1]} == '[['*']]' ]] || fail "$(shown 'expected a grid')" # after how far it was, on stderr
}

# bats test_tags=deep
@test "killed in the middle of training, another rehearsal completes, trusts nothing half-written, is bit-identical" {
  in_background OMP_NUM_THREADS=1 RUN_NAME=again make rehearse
  wait_until grep -q 'training again: ' "$STUBS/background"
  mapfile -t began < <(of_this_test)
  kill -KILL "$BACKGROUND" "$(sed 's/.*process \([0-9]*\).*/\1/' .repro/runs/again/lock)"
  run rehearsal make rehearse RUN_NAME=again
  assert_success
  # torchrun, which outlived the step: ended by its supervisor or by the next run, whichever looked first
  for pid in "${began[@]}"; do
    ! grep -qs '^State:.[^ZX]' "/proc/$pid/status" || fail "process $pid of the killed attempt still runs"
  done
  assert_output --partial 'set aside as'
  compgen -G '.repro/work/checkpoints/*/again.set-aside-*' >/dev/null || fail "$(shown 'nothing was set aside')"
  run rehearsal .venv/bin/trm-repro compare artifacts/arc2_rehearsal/manifest.json artifacts/again/manifest.json
  assert_success
  assert_output --partial 'BIT-IDENTICAL'
}

# What every test file loads: a throw-away runbook, a PATH and a HOME made from nothing, planned stubs, assertions.
#
# A test file calls `make_runbook DIR` (in setup, or in setup_file for a run that its tests only look at), plans what
# may be called (`gpus`, `answer`, `plan`, `training_environment`), and runs things in it with `in_runbook`.
# shellcheck shell=bash disable=SC2034,SC2154 # bats sets status, output and stderr; the tests use what is set here

bats_require_minimum_version 1.5.0

# make_runbook DIR: a copy of the runbook there, with nothing done; stubs answer as on a large machine with 4 GPUs.
make_runbook() {
  RUNBOOK=$1/runbook HOME_OF_TEST=$1/home STUBS=$1/stubs
  export RUNBOOK HOME_OF_TEST STUBS
  cp -a "$TEMPLATE" "$RUNBOOK"
  mkdir -p "$HOME_OF_TEST" "$STUBS/bin"
  : >"$STUBS/plan" && : >"$STUBS/answers" && : >"$STUBS/calls" && : >"$STUBS/surprises"
  : >"$HOME_OF_TEST/.stubs"
  echo 0 >"$STUBS/done"
  gpus 4
  memory 64
  disk 200
  python_is 3.10
  answer 'echo True' 'python3.10 -c import sysconfig*'
  stub c++
  cd "$RUNBOOK" || return
}

# clean_environment WORDS…: runs them with the test's PATH and HOME and nothing else of the caller's environment, for a
# run that is not uploaded. NAME=VALUE words in front of the command set more. Signals that the caller ignores (as under
# nohup) are not ignored: a shell cannot undo that, and would stay deaf to the Ctrl-C that a test sends.
clean_environment() {
  local word
  printf '%s\n' "STUBS=$STUBS" "STARTED_FOR=$STUBS" "STANDIN_PYTHON=$STANDIN_PYTHON" "STANDIN_SITE=$STANDIN_SITE" \
    "STANDIN_STEPS='361957 723914'" >"$HOME_OF_TEST/.stubs"
  for word; do
    [[ $word == *=* ]] || break
    [[ $word != STANDIN_* ]] || printf '%s=%q\n' "${word%%=*}" "${word#*=}" >>"$HOME_OF_TEST/.stubs"
  done
  env --default-signal -i PATH="$STUBS/bin:$BIN" HOME="$HOME_OF_TEST" LANG=C.UTF-8 TERM=dumb CGROUP_ROOT=/nowhere \
    PROC_ROOT="$STUBS/proc" \
    STUBS="$STUBS" STARTED_FOR="$STUBS" STANDIN_PYTHON="$STANDIN_PYTHON" STANDIN_SITE="$STANDIN_SITE" \
    STANDIN_VENV="$STANDIN_VENV" STANDIN_STEPS='361957 723914' TRM_REMOTE="$STANDIN" PUBLISH_TO_KAGGLE=0 "$@" 3>&- 4>&-
}
in_runbook() { run clean_environment "$@"; }

# try_guard G-NAME… [KNOB=VALUE…]: these guards alone, in this runbook, tried and settled as a step does it.
try_guard() {
  local guards=()
  while [[ ${1-} == G-* ]]; do guards+=("$1") && shift; done
  # shellcheck disable=SC2016
  in_runbook "$@" bash -c 'source lib/prelude.bash
    STEP=01-sanity
    mkdir -p "$RUN_STATE"
    source <(repro step begin 01-sanity --force)
    [[ " $* " != *" G-MACHINE "* ]] || MEASURED=$(repro step preflight) || true
    printf "%s\n" "${MEASURED-}"
    guard "$@"
    guards_settle' try_guard "${guards[@]}"
}

# without PROGRAM…: the test's machine lacks these.
without() {
  cp -a "$BIN" "$STUBS/programs"
  BIN=$STUBS/programs
  (cd "$BIN" && rm "$@")
}

# ---- stubs ----

source "$(dirname "${BASH_SOURCE[0]}")/venv.bash"
stub() { ln -sf "$REPO/tests/bats/stub.bash" "$STUBS/bin/$1"; }

# plan ACTION WORDS…: the next call that is not merely answered must be these words, token by token.
plan() {
  local words
  words=$(printf '%q ' "${@:2}")
  printf '%s\t%s\n' "${words% }" "$1" >>"$STUBS/plan"
}

# answer ACTION PATTERN: calls that fit the glob may come at any time. The program is put on PATH, but for those that
# only a virtual environment has.
answer() {
  [[ " ${VENV_PROGRAMS[*]} " == *" ${2%% *} "* ]] || stub "${2%% *}"
  printf '%s\t%s\n' "$2" "$1" >>"$STUBS/answers"
}

# gpus N: nvidia-smi knows N GPUs, each large enough for the whole batch. With 'none' there is no nvidia-smi.
gpus() {
  local lines='' row='NVIDIA B300 SXM6 AC, 275040, 580.65.06, 10.3, 4\n' rows='' i
  rm -f "$STUBS/bin/nvidia-smi"
  [[ $1 != none ]] || return 0
  for ((i = 0; i < $1; i++)); do
    lines+="GPU $i: NVIDIA B300 SXM6 AC (UUID: GPU-0000000$i)\n"
    rows+=$row
  done
  answer "printf '$lines'" 'nvidia-smi -L'
  answer "echo 'Driver Version: 580.65.06   CUDA Version: 13.0'" nvidia-smi
  answer "printf '$rows'" 'nvidia-smi --query-gpu=*'
  answer : 'nvidia-smi -q'
  answer : 'nvidia-smi topo -m'
}

# memory GB, disk GB: what the machine says it has.
memory() {
  local kib=$(($1 * 10 ** 9 / 1024))
  mkdir -p "$STUBS/proc"
  printf '%s: %s kB\n' MemTotal $kib MemFree $kib MemAvailable $kib >"$STUBS/proc/meminfo"
}
disk() {
  answer "printf 'Avail IFree Inodes\n$(($1 * 10 ** 9)) 9000000 10000000\n'" 'df -B1 --output=avail,*'
  answer "printf 'Avail\n$(($1 * 10 ** 9))\n'" 'df -B1 --output=avail *'
}

# python_is VERSION: what python3.10 says it is.
python_is() { answer "echo $1" 'python3.10 -c import sys;*'; }

# training_environment: everything in it answers, for a test that is about something else.
training_environment() {
  answer 'make_venv "$3"' 'python3.10 -m venv *'
  answer : 'pip install *'
  answer 'pip_install_lock "$@"' 'pip install --require-hashes *'
  answer 'echo "Package Version"; echo "torch 2.11.0"' 'pip list*'
  answer 'real_python "$@"' 'python *'
  answer : 'python -c import torch*'
  answer 'echo torch: 2.11.0; echo cuda_available: True' 'python -c import torch;*'
  answer 'echo Python 3.10.13' 'python -V'
  answer 'real_torchrun "$@"' 'torchrun *'
}

# done_until N: runs the steps up to N, which must all succeed.
done_until() {
  local step
  training_environment
  for step in steps/0[1-"$1"]-*.sh; do
    clean_environment "$step" >"$STUBS/output" 2>&1 || { cat "$STUBS/output" && return 1; }
  done
}

# clone_upstream: TRM_DIR as step 2 leaves it, for a test that is about something else.
clone_upstream() {
  UPSTREAM=$RUNBOOK/upstream/TinyRecursiveModels
  git clone --quiet --no-checkout "$STANDIN" "$UPSTREAM"
  git -C "$UPSTREAM" checkout --quiet --detach "$STANDIN_COMMIT"
}

# built: TRM_DIR as step 4 leaves it, the training environment included, for a test that is about what comes after.
built() {
  clone_upstream
  training_environment
  mkdir -p "$UPSTREAM/data"
  cp -R "$BATS_SUITE_TMPDIR/dataset" "$UPSTREAM/data/arc2concept-aug-1000"
  make_venv "$UPSTREAM/.venv"
  written_down
}

# written_down [NAME]: the environment that make_venv makes, as step 3 writes down what is in it.
written_down() {
  mkdir -p .repro
  cp "$BATS_SUITE_TMPDIR/venv.json" ".repro/env_${1:-arc2_trm_arc2_paper_repro}.json"
}

# no_plan: what an earlier test of this file planned is forgotten.
no_plan() { : >"$STUBS/plan" && : >"$STUBS/surprises" && : >"$STUBS/calls" && echo 0 >"$STUBS/done"; }

# no_network: the tool environment's programs, all real but those that would use the network; git may clone from a
# folder.
no_network() {
  local name
  rm .venv/bin && mkdir .venv/bin
  ln -s "$REPO"/.venv/bin/{python,trm-repro} .venv/bin
  for name in kaggle hf; do ln -s "$REPO/tests/bats/stub.bash" ".venv/bin/$name"; done
  git config --file "$HOME_OF_TEST/.gitconfig" protocol.file.allow always
}

# pinned FAMILY FOLDER: what lies in FOLDER is committed, and is the pin of that family of recipes.
pinned() {
  local git=(git -c user.name=tester -c user.email=tester@example.invalid)
  "${git[@]}" -C "$2" add --all
  "${git[@]}" -C "$2" commit --quiet --message "$1"
  sed -i -E "s/^(  commit:).*/\1 $(git -C "$2" rev-parse HEAD)/
    s/^(  tree:).*/\1 $(git -C "$2" rev-parse 'HEAD^{tree}')/" \
    "recipes/base/$1.yaml"
  "${git[@]}" commit --quiet --all --message "$1"
}

# nvarc_in FOLDER: a repository laid out as NVARC is: scripts in TRM/ that import a submodule's code through links,
# folders for the data with a README each. Recipes of that family take it for their upstream.
nvarc_in() {
  local name
  git init --quiet "$1"
  git -C "$1" -c protocol.file.allow=always submodule --quiet add "$STANDIN" external/TinyRecursiveModels
  git -C "$1/external/TinyRecursiveModels" checkout --quiet "$STANDIN_COMMIT"
  for name in training evaluation; do
    mkdir -p "$1/TRM/arc-prize-trm-$name-data"
    echo 'data goes here' >"$1/TRM/arc-prize-trm-$name-data/README.md"
  done
  for name in pretrain-no-eval:evaluates=False eval-arc-k-10:attempts=10; do
    printf '%s\n' 'import sys' 'sys.path.insert(0, "../external/TinyRecursiveModels")' 'from pretrain import main' \
      "main(tracked=False, ${name#*:})" >"$1/TRM/${name%:*}.py"
  done
  pinned nvarc "$1"
}

# checkpoint FILE: words that leave what a download leaves.
checkpoint() {
  printf '%q ' "$STANDIN_PYTHON" -c "import os, sys, zipfile; os.makedirs(os.path.dirname(sys.argv[1]), exist_ok=True)
zipfile.ZipFile(sys.argv[1], 'w').writestr('data.pkl', '')" "$1"
}

# in_background NAME=VALUE… COMMAND: runs it as `in_runbook` does, in a process group of its own; its id is in
# BACKGROUND, what it says in $STUBS/background.
in_background() {
  set -m
  clean_environment "$@" >"$STUBS/background" 2>&1 </dev/null &
  BACKGROUND=$!
  set +m
}

# ended: waits for it; its exit code is in status, what it said in output.
ended() {
  status=0
  wait "$BACKGROUND" || status=$?
  output=$(<"$STUBS/background")
}

# wait_until WORDS…: until they succeed; 300 seconds at most, which only a broken or a very busy machine needs.
wait_until() {
  local end=$((SECONDS + 300))
  until "$@"; do
    ((SECONDS < end)) || fail "waited in vain for: $*"$'\n'"$(cat "$STUBS/background")" || return
    sleep 0.05
  done
}
# wait_for GLOB: until there is such a file.
wait_for() { wait_until compgen -G "$1" >/dev/null; }

# of_this_test: the processes that it started and that are still there.
of_this_test() { grep -lsz "^STARTED_FOR=$STUBS\$" /proc/[0-9]*/environ | cut -d/ -f3; }
none_left() { [[ -z $(of_this_test) ]]; }
# kill_all: as when the machine is taken away.
kill_all() { of_this_test | xargs -r kill -KILL || true; }
# Ends what a failed test would leave behind, and bats' own clock: after a failure bats forgets to stop it, and waits
# for it. A runbook that served well goes at once: removed later, all at the end, its checkpoints would have been
# written to the disk.
teardown() {
  [[ -z ${BACKGROUND-} ]] || kill_all
  jobs -p | xargs -r kill 2>/dev/null || true
  [[ -z $BATS_TEST_COMPLETED ]] || { cd / && rm -rf "${BATS_TEST_TMPDIR:?}"/*; }
}
teardown_file() { rm -rf "${BATS_FILE_TMPDIR:?}"/*; }

# ---- the seed's words ----

# seed_knobs: sets KNOBS_OF_SEED to the seed's exports, as words for `in_runbook`.
seed_knobs() {
  local line
  mapfile -t KNOBS_OF_SEED < <(
    HOME=$HOME_OF_TEST
    eval "$(seed_text knobs)"
    while IFS= read -r line; do
      line=${line#export } line=${line%%=*}
      printf '%s=%s\n' "$line" "${!line}"
    done < <(seed_text knobs)
  )
}

# seed_text NAME: the seed's lines of that name.
seed_text() { sed -n "/^## $1: /,/^\$/{/^##/d;/^\$/d;p}" "$REPO/tests/bats/seed-000-commands.txt"; }

# seed_words NAME [KNOB=VALUE…]: sets SEED to the words of the seed's command, as the seed's shell would make them.
seed_words() {
  mapfile -d '' -t SEED < <(
    HOME=$HOME_OF_TEST
    eval "$(seed_text knobs)"
    (($# == 1)) || export "${@:2}"
    eval "printf '%s\0' $(seed_text "$1")"
  )
}

# ---- assertions ----

fail() {
  printf '%s\n' "$*" >&2
  return 1
}
shown() { printf '%s\n---- status %s, output:\n%s\n' "$1" "$status" "$output${stderr+$'\n'---- stderr:$'\n'$stderr}"; }

assert_success() { [[ $status == 0 ]] || fail "$(shown 'expected success')"; }
# assert_failure CODE
assert_failure() { [[ $status == "$1" ]] || fail "$(shown "expected exit code $1")"; }
# assert_output TEXT | --partial TEXT;  refute_output PART
assert_output() {
  if [[ $1 == --partial ]]; then
    [[ $output == *"$2"* ]] || fail "$(shown "expected in the output: $2")"
  else
    [[ $output == "$1" ]] || fail "$(shown "expected output: $1")"
  fi
}
refute_output() {
  (($# == 1)) || fail "refute_output takes one text: $*"
  [[ $output != *"$1"* ]] || fail "$(shown "not expected in the output: $1")"
}
assert_equal() { [[ $1 == "$2" ]] || fail "$(printf 'expected: %s\nfound:    %s' "$2" "$1")"; }
assert_file() { [[ -e $1 ]] || fail "expected to exist: $1"; }
refute_file() { [[ ! -e $1 ]] || fail "not expected to exist: $1"; }
# assert_in_file TEXT FILE
assert_in_file() { grep -qF -- "$1" "$2" || fail "$(printf 'expected in %s: %s\n%s' "$2" "$1" "$(cat "$2")")"; }

# assert_guard G-NAME OUTCOME: what the guard's last record says, of the run that wrote last.
assert_guard() {
  local found records
  records=$(find .repro/runs/*/guards.jsonl -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2-)
  found=$(sed -n "s/.*\"guard\": \"$1\", \"outcome\": \"\([a-z]*\)\".*/\1/p" "$records" | tail -n 1)
  [[ $found == "$2" ]] || fail "$(shown "expected $1 recorded as $2, found '$found'")"
}
# assert_broken G-NAME [CODE]: the last command stopped there with that code (4), said so, and recorded it.
assert_broken() {
  assert_failure "${2:-4}" && assert_output --partial "error: $1: " && assert_guard "$1" broken
}
# assert_holds G-NAME…: the last command went on past them, and recorded that they hold.
assert_holds() {
  local name
  assert_success && for name; do assert_guard "$name" holds || return; done
}
# assert_overridden G-NAME: the last command went on past it, said so, and recorded it.
assert_overridden() {
  assert_success && assert_output --partial "warning: $1 overridden: " && assert_guard "$1" overridden
}

# assert_plan_done: every planned call came, in order, and no other.
assert_plan_done() {
  [[ ! -s $STUBS/surprises ]] || fail "$(cat "$STUBS/surprises")"
  local came planned
  came=$(<"$STUBS/done") planned=$(wc -l <"$STUBS/plan")
  ((came == planned)) ||
    fail "only $came of $planned planned calls came; next: $(sed -n "$((came + 1))p" "$STUBS/plan")"
}

# Made once, before all tests: the stand-in upstream as a git repository, a throw-away copy of this runbook that takes
# it for upstream, of which each test gets a copy (helper.bash), and the programs that a machine has to have. And the
# limit: no test, and nothing that one starts, lasts longer than BATS_TEST_TIMEOUT seconds.
# shellcheck shell=bash

# What is not here, the runbook may not use.
PROGRAMS=(awk basename bash cat chmod cp cut date df dirname du env find flock git grep head ln ls make mkdir
  mktemp mv nproc ps readlink realpath rm sed seq sh sha256sum sleep sort tail tee touch tr tty uname wc xargs)

setup_suite() {
  set -euo pipefail
  export REPO TEMPLATE STANDIN STANDIN_PYTHON STANDIN_SITE STANDIN_VENV BIN BATS_TEST_TIMEOUT
  : "${BATS_TEST_TIMEOUT:=600}" # alone, the longest test takes 60
  reaper &
  REPO=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
  TEMPLATE=$BATS_SUITE_TMPDIR/template
  STANDIN=$BATS_SUITE_TMPDIR/standin.git
  STANDIN_PYTHON=$(sed -n 's/^home = //p' "$REPO/.venv/pyvenv.cfg")/python3
  STANDIN_SITE=$REPO/tests/bats/site
  STANDIN_VENV=$BATS_SUITE_TMPDIR/venv
  export PYTHONDONTWRITEBYTECODE=1
  make_programs
  make_standin
  make_template
  make_standin_venv
  unset PYTHONDONTWRITEBYTECODE
}

# What a test starts says so in its environment (clean_environment). Whatever of that is older than the limit is
# killed: bats itself ends a test that takes too long, but not what is deaf to SIGTERM or has another parent, nor what
# a setup_file waits for.
reaper() {
  local pid age
  eval "exec $(printf '%s>&- ' {0..255})" # bats waits for whoever holds these
  while sleep 2 && kill -0 "$$"; do
    while read -r pid age; do
      # ps says some 4,100,000,000 of a process that began as it looked
      ((age <= BATS_TEST_TIMEOUT || age > 1000000000)) ||
        ! grep -qsz "^STARTED_FOR=$BATS_RUN_TMPDIR/" "/proc/$pid/environ" ||
        kill -KILL "$pid"
    done < <(ps -eo pid=,etimes=)
  done
}

make_programs() {
  local name paths=()
  BIN=$BATS_SUITE_TMPDIR/bin
  mkdir "$BIN"
  for name in "${PROGRAMS[@]}"; do
    paths+=("$(type -P "$name")") || { echo "the tests need $name" >&2 && return 1; }
  done
  env --default-signal true || { echo 'the tests need env of coreutils 8.31 or newer' >&2 && return 1; }
  ln -s "${paths[@]}" "$BIN"
}

git_as_tester() { git -c user.name=tester -c user.email=tester@example.invalid -c init.defaultBranch=main "$@"; }

# The stand-in, committed, as a bare repository whose main branch has moved on since the commit that is the pin.
make_standin() {
  local work=$BATS_SUITE_TMPDIR/standin
  cp -R "$REPO/tests/fixtures/standin-upstream" "$work"
  find "$work" -name __pycache__ -prune -exec rm -r {} +
  git_as_tester init --quiet "$work"
  git -C "$work" add --all
  git_as_tester -C "$work" commit --quiet --message 'The pinned commit'
  STANDIN_COMMIT=$(git -C "$work" rev-parse HEAD)
  STANDIN_TREE=$(git -C "$work" rev-parse 'HEAD^{tree}')
  export STANDIN_COMMIT STANDIN_TREE
  echo 'raise SystemExit("not the pinned commit")' >"$work/pretrain.py"
  git_as_tester -C "$work" commit --quiet --all --message 'A later commit'
  git clone --quiet --bare "$work" "$STANDIN"
  git -C "$work" checkout --quiet --detach "$STANDIN_COMMIT"
  (cd "$work" && "$STANDIN_PYTHON" -m dataset.build_arc_dataset --input-file-prefix kaggle/combined/arc-agi \
    --output-dir "$BATS_SUITE_TMPDIR/dataset" --subsets training2 evaluation2 concept \
    --test-set-name evaluation2) >/dev/null
}

# The runbook's files as they are in the working tree, as a commit of a repository of their own. Of the recipes, the
# numbers that name upstream's content are made the stand-in's; every other byte stays.
make_template() {
  mkdir "$TEMPLATE"
  (cd "$REPO" && git ls-files -z --cached --others --exclude-standard -- \
    Makefile env.sh lib steps recipes docs locks pyproject.toml .gitignore .gitmodules |
    xargs -0 cp --parents --preserve=mode,timestamps --target-directory "$TEMPLATE")
  local base=$TEMPLATE/recipes/base file
  sed -i "s/ e7b68717f0a6c4cbb4ce6fbef787b14f42083bd9$/ $STANDIN_COMMIT/
    s/ 48ff070a3c3352b0d1c5a2b0ad280a7b911cdcec$/ $STANDIN_TREE/" \
    "$base/samsung.yaml"
  for file in "$BATS_SUITE_TMPDIR"/standin/kaggle/combined/*.json; do
    sed -i "s/^\(    ${file##*/}:\) .*/\1 $(sha256sum "$file" | cut -d' ' -f1)/" "$base/arc-tasks.yaml"
  done
  "$REPO/.venv/bin/trm-repro" dataset digests "$BATS_SUITE_TMPDIR/dataset" \
    >"$TEMPLATE/recipes/digests/arc2concept-aug-1000.json"
  git_as_tester init --quiet "$TEMPLATE"
  mkdir -p "$TEMPLATE/upstream/TinyRecursiveModels" "$TEMPLATE/.venv"
  ln -s "$REPO/.venv/bin" "$TEMPLATE/.venv/bin"
  touch "$TEMPLATE/.venv/ready"
  git -C "$TEMPLATE" add --all
  git -C "$TEMPLATE" update-index --add --cacheinfo "160000,$STANDIN_COMMIT,upstream/TinyRecursiveModels"
  git_as_tester -C "$TEMPLATE" commit --quiet --message 'The runbook under test'
  git -C "$TEMPLATE" gc --quiet # it is copied for every test: few files
  rm -r "$TEMPLATE/.git/hooks"
}

# A virtual environment whose programs are stubs, of a Python that has a standard library of one file; and what step 3
# writes down of it.
make_standin_venv() {
  local name base=$BATS_SUITE_TMPDIR/base
  mkdir -p "$base/bin" "$base/lib/python3.10" "$STANDIN_VENV/bin"
  echo '# the standard library' >"$base/lib/python3.10/os.py"
  printf '%s\n' "home = $base/bin" 'include-system-site-packages = false' 'version = 3.10.13' \
    >"$STANDIN_VENV/pyvenv.cfg"
  ln -s "$REPO/tests/bats/stub.bash" "$STANDIN_VENV/bin/python"
  ln -s python "$STANDIN_VENV/bin/python3"
  for name in pip torchrun; do
    printf '#!/usr/bin/env bash\nsource %q\n' "$REPO/tests/bats/stub.bash" >"$STANDIN_VENV/bin/$name"
    chmod +x "$STANDIN_VENV/bin/$name"
  done
  "$STANDIN_PYTHON" "$REPO/tests/bats/install.py" "$STANDIN_VENV"
  (cd "$TEMPLATE" && RUN_NAME=x RECIPE=arc2-paper USE_VENV=1 VENV_DIR=$STANDIN_VENV \
    "$REPO/.venv/bin/trm-repro" step check-environment "$BATS_SUITE_TMPDIR/venv.json") >&2
}

# Made once, before all tests: the stand-in upstream as a git repository, and a throw-away copy of this runbook that
# takes it for upstream. Each test gets a copy of that copy (helper.bash).
# shellcheck shell=bash

setup_suite() {
  set -euo pipefail
  export REPO TEMPLATE STANDIN STANDIN_PYTHON STANDIN_SITE
  REPO=$(realpath "$BATS_TEST_DIRNAME/../..")
  TEMPLATE=$BATS_SUITE_TMPDIR/template
  STANDIN=$BATS_SUITE_TMPDIR/standin.git
  STANDIN_PYTHON=$(sed -n 's/^home = //p' "$REPO/.venv/pyvenv.cfg")/python3
  STANDIN_SITE=$REPO/tests/bats/site
  export PYTHONDONTWRITEBYTECODE=1
  make_standin
  make_template
  unset PYTHONDONTWRITEBYTECODE
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
    --output-dir "$BATS_SUITE_TMPDIR/dataset" --subsets training2 evaluation2 concept --test-set-name evaluation2) >/dev/null
}

# The runbook's files as they are in the working tree, as a commit of a repository of their own. Of the recipes, the
# numbers that name upstream's content are made the stand-in's; every other byte stays.
make_template() {
  mkdir "$TEMPLATE"
  (cd "$REPO" && git ls-files -z --cached --others --exclude-standard -- \
    Makefile env.sh lib steps recipes docs locks pyproject.toml .gitignore .gitmodules |
    xargs -0 cp --parents --preserve=mode,timestamps --target-directory "$TEMPLATE")
  local base=$TEMPLATE/recipes/base file
  sed -i "s/ e7b68717f0a6c4cbb4ce6fbef787b14f42083bd9$/ $STANDIN_COMMIT/; s/ 48ff070a3c3352b0d1c5a2b0ad280a7b911cdcec$/ $STANDIN_TREE/" \
    "$base/samsung.yaml"
  for file in "$BATS_SUITE_TMPDIR"/standin/kaggle/combined/*.json; do
    sed -i "s/^\(    ${file##*/}:\) .*/\1 $(sha256sum "$file" | cut -d' ' -f1)/" "$base/arc-tasks.yaml"
  done
  "$REPO/.venv/bin/trm-repro" dataset digests "$BATS_SUITE_TMPDIR/dataset" >"$TEMPLATE/recipes/digests/arc2concept-aug-1000.json"
  git_as_tester init --quiet "$TEMPLATE"
  mkdir -p "$TEMPLATE/upstream/TinyRecursiveModels" "$TEMPLATE/.venv"
  ln -s "$REPO/.venv/bin" "$TEMPLATE/.venv/bin"
  touch "$TEMPLATE/.venv/ready"
  git -C "$TEMPLATE" add --all
  git -C "$TEMPLATE" update-index --add --cacheinfo "160000,$STANDIN_COMMIT,upstream/TinyRecursiveModels"
  git_as_tester -C "$TEMPLATE" commit --quiet --message 'The runbook under test'
}

#!/usr/bin/env bats
# G-UPSTREAM-STRAYS: nothing lies in upstream's tree that could be picked up in place of upstream's own files.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR" && clone_upstream; }

@test "G-UPSTREAM-STRAYS holds with what upstream itself leaves there" {
  local path
  for path in data/set/dataset.json checkpoints/project/run/trm.py wandb/offline-run-1/files/code/pretrain.py \
    wandb/offline-run-1/files/config.yaml outputs/2026-01-01/00-00-00/pretrain.log \
    __pycache__/pretrain.cpython-310.pyc \
    models/__pycache__/trm.cpython-310.pyc .venv/lib/torch.py kaggle_dataset_arc2_run/all_config.yaml notes.txt; do
    mkdir -p "$UPSTREAM/$(dirname "$path")" && touch "$UPSTREAM/$path"
  done
  ln -s offline-run-1 "$UPSTREAM/wandb/latest-run"
  # the data may lie on another disk
  mv "$UPSTREAM/data" "$BATS_TEST_TMPDIR" && ln -s "$BATS_TEST_TMPDIR/data" "$UPSTREAM"
  try_guard G-UPSTREAM-STRAYS
  assert_holds G-UPSTREAM-STRAYS
}

@test "G-UPSTREAM-STRAYS is broken by a stray module, package, configuration or path file" {
  local path paths=(torch.py einops/__init__.py models/trm.pyc config/arch/other.yaml triton.so adam_atan2.egg-link
    $'models/b\xc3\xa4d.py' 'models/with blank.py' wandb/__init__.py)
  for path in "${paths[@]}"; do mkdir -p "$UPSTREAM/$(dirname "$path")" && touch "$UPSTREAM/$path"; done
  try_guard G-UPSTREAM-STRAYS
  assert_broken G-UPSTREAM-STRAYS
  for path in "${paths[@]}"; do assert_output --partial "$path"; done
}

@test "G-UPSTREAM-STRAYS is broken by a package that is a link or a repository of its own" {
  mkdir "$BATS_TEST_TMPDIR/elsewhere" && touch "$BATS_TEST_TMPDIR/elsewhere/__init__.py"
  ln -s "$BATS_TEST_TMPDIR/elsewhere" "$UPSTREAM/torch"
  git clone --quiet "$STANDIN" "$UPSTREAM/einops"
  try_guard G-UPSTREAM-STRAYS
  assert_broken G-UPSTREAM-STRAYS
  assert_output --partial 'einops/ torch'
}

@test "G-UPSTREAM-STRAYS is broken by a stray that git ignores, and by one that it has been told to track" {
  echo torch.py >>"$UPSTREAM/.git/info/exclude"
  touch "$UPSTREAM/torch.py" "$UPSTREAM/einops.py"
  git -C "$UPSTREAM" add einops.py
  try_guard G-UPSTREAM-STRAYS
  assert_broken G-UPSTREAM-STRAYS
  assert_output --partial 'einops.py torch.py'
}

@test "G-UPSTREAM-STRAYS can be overridden" {
  touch "$UPSTREAM/torch.py"
  try_guard G-UPSTREAM-STRAYS OVERRIDE=G-UPSTREAM-STRAYS
  assert_overridden G-UPSTREAM-STRAYS
}

#!/usr/bin/env bats
# G-PYTHON: the training environment is made by the Python that upstream names.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }

@test "G-PYTHON is broken where there is none" {
  rm "$STUBS/bin/python3.10"
  try_guard G-PYTHON
  assert_broken G-PYTHON
  assert_output --partial "PY='python3.10' does not run, upstream needs 3.10"
}

@test "G-PYTHON is broken by a shim that is found and fails" {
  answer 'echo "pyenv: python3.10: command not found" >&2; exit 127' 'python3.10 *'
  try_guard G-PYTHON
  assert_broken G-PYTHON
  assert_output --partial "PY='python3.10' does not run"
}

@test "G-PYTHON is broken by another version, and names it" {
  answer 'echo 3.12' 'python3.12 -c import sys;*'
  try_guard G-PYTHON PY=python3.12
  assert_broken G-PYTHON
  assert_output --partial 'is Python 3.12, upstream needs 3.10'
  assert_output --partial 'do not go on with another version'
}

@test "G-PYTHON can be overridden" {
  python_is 3.11
  try_guard G-PYTHON OVERRIDE=G-PYTHON
  assert_overridden G-PYTHON
}

@test "G-PYTHON does not concern a recipe that trains in the tool environment" {
  rm "$STUBS/bin/python3.10"
  try_guard G-PYTHON RECIPE=arc2-rehearsal
  assert_holds G-PYTHON
}

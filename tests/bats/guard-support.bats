#!/usr/bin/env bats
# G-SUPPORT: nothing is put under a training that calls itself faithful.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }
# the paper's own recipe, on support for a CPU
smuggled() { printf '\ntrain:\n  support: cpu\n' >>recipes/arc2-paper.yaml; }

@test "G-SUPPORT holds where a recipe is faithful and nothing is put under its training, or does not call itself so" {
  try_guard G-SUPPORT
  assert_holds G-SUPPORT
  try_guard G-SUPPORT RECIPE=arc2-rehearsal-upstream-cpu
  assert_holds G-SUPPORT
}

@test "G-SUPPORT is broken by a faithful recipe with a support, in step 1 and again before the training (D-43)" {
  smuggled
  in_runbook steps/01-sanity.sh
  assert_broken G-SUPPORT 3
  assert_output --partial 'calls itself faithful and puts'
  built
  in_runbook steps/05-train.sh
  assert_broken G-SUPPORT
  assert_output --partial 'support/cpu under the training'
  run grep torchrun "$STUBS/calls"
  assert_output ''
}

@test "G-SUPPORT cannot be overridden, nor can the support be brought in from outside" {
  smuggled
  try_guard G-SUPPORT OVERRIDE=G-SUPPORT RECIPE_FAITHFUL=0 SUPPORT=
  assert_broken G-SUPPORT
  refute_output 'OVERRIDE=G-SUPPORT'
  git checkout -q recipes
  try_guard G-ENVIRONMENT "PYTHONPATH=$REPO/src/trm_repro/support/cpu"
  assert_broken G-ENVIRONMENT
}

@test "G-SUPPORT is broken by a faithful recipe whose command brings the support in by its own words" {
  printf '\ntrain:\n  launcher: [env, "PYTHONPATH=%s", torchrun]\n' "$REPO/src/trm_repro/support/cpu" \
    >>recipes/arc2-paper.yaml
  try_guard G-SUPPORT
  assert_broken G-SUPPORT
  assert_output --partial 'support/cpu under the training'
}

@test "the support is first on the training's path, the tap behind it, and both are on record (D-43)" {
  in_runbook RECIPE=arc2-rehearsal-upstream-cpu WANDB_TAP=1 bash -c 'source lib/prelude.bash
    source <(repro step begin 05-train --force)
    python_path "$SUPPORT" "$TAP"
    printf "%s\n" "${PYTHONPATH//$TRM_DIR/}"'
  assert_success
  assert_output --partial "/support/cpu:"
  assert_output --partial "/trm_repro/tap"
}

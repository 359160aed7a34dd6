#!/usr/bin/env bats
# G-ENVIRONMENT-FILES: before and after the training, the environment is what was installed, file by file.
# (Every way to break it: tests/unit/test_inventory.py.)

load helper
setup() {
  make_runbook "$BATS_TEST_TMPDIR"
  built
  SITE=$UPSTREAM/.venv/lib/python3.10/site-packages
}

@test "G-ENVIRONMENT-FILES is broken by a .pth and a module that somebody put there, before the training" {
  echo 'import os; os.environ["PATCHED"] = "1"' >"$SITE/evil.pth"
  echo 'from torch import *' >"$SITE/adam_atan2.py"
  in_runbook steps/05-train.sh
  assert_broken G-ENVIRONMENT-FILES
  assert_output --partial 'site-packages/evil.pth: no RECORD lists it'
  assert_output --partial 'site-packages/adam_atan2.py: no RECORD lists it'
  assert_output --partial 'nothing was started'
  refute_file "$UPSTREAM/checkpoints"
}

@test "G-ENVIRONMENT-FILES is broken by what changes while it trains, and the step is not done" {
  answer "echo 'import os' >'$SITE/late.pth'; real_torchrun \"\$@\"" 'torchrun *'
  in_runbook steps/05-train.sh
  assert_broken G-ENVIRONMENT-FILES
  assert_output --partial 'late.pth: no RECORD lists it'
  refute_file .repro/runs/trm_arc2_paper_repro/05-train.stamp
}

@test "G-ENVIRONMENT-FILES is broken where the builder would run, and before step 3" {
  rm -r "$UPSTREAM/data"
  echo '# other' >>"$SITE/evil.py"
  in_runbook steps/04-dataset.sh
  assert_broken G-ENVIRONMENT-FILES
  assert_output --partial 'evil.py: no RECORD lists it'
  rm "$SITE/evil.py" .repro/env_*.json
  in_runbook steps/05-train.sh
  assert_broken G-ENVIRONMENT-FILES
  assert_output --partial 'was not written down: make step-3'
}

@test "G-ENVIRONMENT-FILES can be overridden, and the run is not faithful" {
  echo 'import os' >"$SITE/evil.pth"
  in_runbook OVERRIDE=G-ENVIRONMENT-FILES steps/05-train.sh
  assert_overridden G-ENVIRONMENT-FILES
  in_runbook steps/06-verify.sh
  assert_success
  assert_in_file 'G-ENVIRONMENT-FILES was overridden' artifacts/trm_arc2_paper_repro/manifest.json
}

# bats test_tags=deep
@test "step 3 stops at a stray of an environment that was there, and installs anew what nobody wrote down" {
  training_environment
  in_runbook steps/03-venv.sh
  assert_success # it was written down
  rm -rf "$UPSTREAM/.venv"
  in_runbook steps/03-venv.sh
  assert_success
  refute_output force-reinstall
  in_runbook steps/03-venv.sh --force
  assert_success
  refute_output '--no-deps --force-reinstall'
  echo '# other' >>"$SITE/torch.py"
  echo 'import os' >"$SITE/evil.pth"
  in_runbook steps/03-venv.sh --force
  assert_broken G-ENVIRONMENT-FILES
  assert_output --partial 'pip install --require-hashes --no-deps --force-reinstall'
  assert_output --partial 'evil.pth: no RECORD lists it'
  refute_output 'torch.py: not'
}

@test "what is compiled for the training is compiled anew, in a folder that is gone afterwards" {
  answer 'env >"$STUBS/environment"; ls -A "${PYTHONPYCACHEPREFIX%/*}" >"$STUBS/caches"; real_torchrun "$@"' \
    'torchrun *'
  mkdir -p .repro/runs/trm_arc2_paper_repro/caches/python
  in_runbook steps/05-train.sh
  assert_success
  assert_equal "$(<"$STUBS/caches")" ''
  refute_file .repro/runs/trm_arc2_paper_repro/caches
  for name in PYTHONPYCACHEPREFIX NUMBA_CACHE_DIR TORCHINDUCTOR_CACHE_DIR TRITON_CACHE_DIR TORCH_EXTENSIONS_DIR; do
    assert_in_file "$name=$RUNBOOK/.repro/runs/trm_arc2_paper_repro/caches/" "$STUBS/environment"
  done
}

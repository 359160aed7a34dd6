#!/usr/bin/env bats
# What a user types: make and its words, and where the knobs come from.

load helper
setup() { make_runbook "$BATS_TEST_TMPDIR"; }
listing() { find . "$HOME_OF_TEST" ! -name .stubs -printf '%p %s %T@\n' | grep -v '^./.git/index' | sort; }

@test "make alone lists its words" {
  in_runbook make
  assert_success
  local word
  for word in rehearse all plan status env clean test; do assert_output --partial "  make $word "; done
}

@test "a word that make does not have is answered with the one that was meant" {
  in_runbook PATH="$PATH" make stauts
  assert_failure 2
  assert_output --partial 'error: make has no word stauts'
  assert_output --partial 'hint: did you mean make status? make help lists them'
  in_runbook make step-9
  assert_output --partial 'make has no word step-9'
}

@test "make all without a GPU stops in step 1, which exits 3 with the complete list" {
  gpus none
  rm "$STUBS/bin/python3.10"
  in_runbook PUBLISH_TO_KAGGLE=1 make all
  assert_failure 2 # make's own code; the step's is in its message
  assert_output --partial 'Error 3'
  local name
  for name in G-PYTHON G-GPUS G-MACHINE G-KAGGLE-CREDENTIALS; do assert_output --partial "error: $name: "; done
  assert_output --partial 'make rehearse'
  refute_output '==> 02-clone'
  refute_file upstream/TinyRecursiveModels/.git
}

@test "make plan shows every command of every step on a bare machine, and touches nothing" {
  local before
  gpus none
  before=$(listing)
  in_runbook make plan
  assert_success
  local text
  for text in 'fetch --quiet --depth 1' '-m venv' 'python -m dataset.build_arc_dataset' 'torchrun --nproc-per-node 4' \
    'trm-repro publish package' 'trm-repro step handoff'; do
    assert_output --partial "$text"
  done
  assert_equal "$(listing)" "$before"
}

@test "make step-N runs that step, again with FORCE=1" {
  in_runbook make step-1
  assert_success
  assert_output --partial '01-sanity: nothing'
  in_runbook make step-1
  assert_output '01-sanity: fresh'
  in_runbook make step-1 FORCE=1
  assert_output --partial '01-sanity: nothing'
}

@test "make env has every knob of the seed, under its name and with its default" {
  local word name
  seed_knobs
  in_runbook make env
  assert_success
  for word in "${KNOBS_OF_SEED[@]}"; do
    name=${word%%=*}
    case $name in
      TRM_DIR) word=TRM_DIR=$RUNBOOK/upstream/TinyRecursiveModels ;; # D-03
      VENV_DIR | KAGGLE_DS_DIR)
        word=${word/"$HOME_OF_TEST/TinyRecursiveModels"/"$RUNBOOK/upstream/TinyRecursiveModels"}
        ;;
      PUBLISH_TO_KAGGLE) continue ;; # the tests' default, below
      KAGGLE_USERNAME) continue ;;   # below
    esac
    grep -qxF "$name='${word#*=}'" <<<"$output" || fail "$(shown "expected $name='${word#*=}'")"
  done
  in_runbook PUBLISH_TO_KAGGLE= make env
  assert_output --partial "PUBLISH_TO_KAGGLE='1'"
  assert_output --partial "RECIPE='arc2-paper'"
}

@test "make env masks secrets" {
  in_runbook WANDB_API_KEY=0123456789abcdef make env
  assert_success
  assert_output --partial "WANDB_API_KEY='********'"
  refute_output 0123456789abcdef
}

@test "the environment wins over env.local.sh, which wins over the defaults" {
  printf '%s\n' 'RUN_NAME=from_the_file' 'MAX_GPUS_TO_USE=2' 'TRM_DIR=/from/the/file' >env.local.sh
  in_runbook RUN_NAME=from_the_environment make env
  assert_output --partial "RUN_NAME='from_the_environment'"
  assert_output --partial "MAX_GPUS_TO_USE='2'"
  assert_output --partial "VENV_DIR='/from/the/file/.venv'"
  assert_output --partial "KAGGLE_DATASET_SLUG='trm-arc2-weights-from_the_environment'"
  in_runbook make env RUN_NAME=from_make
  assert_output --partial "RUN_NAME='from_make'"
}

@test "an empty value in the environment is a value, and an empty default stays one" {
  echo 'WANDB_API_KEY=from-the-file' >env.local.sh
  in_runbook WANDB_API_KEY= make env
  assert_output --partial "WANDB_API_KEY=''"
}

@test "env.local.sh is not tracked, and neither is what runs leave" {
  touch env.local.sh
  mkdir -p .repro artifacts logs && touch .repro/a artifacts/b logs/c
  assert_equal "$(git status --short --ignore-submodules=all)" ''
}

# something_of_everything: what runs leave.
something_of_everything() {
  mkdir -p logs/run .repro/runs/run .repro/work/data artifacts/run upstream/TinyRecursiveModels/{data,checkpoints} \
    upstream/TinyRecursiveModels/kaggle_dataset_arc2_trm_arc2_paper_repro
  touch logs/run/a.log .repro/runs/run/01.stamp .repro/digests.json
}

@test "make clean says what it would delete, and deletes nothing" {
  local before
  something_of_everything
  before=$(find . -not -path './.git/*' | sort)
  in_runbook make clean
  assert_success
  assert_output --partial 'would delete logs'
  assert_output --partial 'would delete .repro/runs'
  assert_output --partial 'keeping artifacts'
  assert_output --partial 'nothing was deleted; YES=1 does it'
  assert_equal "$(find . -not -path './.git/*' | sort)" "$before"
}

@test "make clean YES=1 deletes logs and stamps, and keeps data, checkpoints and artifacts" {
  local path
  something_of_everything
  in_runbook make clean YES=1
  assert_success
  for path in logs .repro/runs .repro/digests.json; do refute_file "$path"; done
  for path in .repro/work/data artifacts/run upstream/TinyRecursiveModels/{data,checkpoints} \
    upstream/TinyRecursiveModels/kaggle_dataset_arc2_trm_arc2_paper_repro steps .venv/bin; do
    assert_file "$path"
  done
}

@test "make clean YES=1 deletes nothing while a run is at work, here or on the same dataset from elsewhere" {
  local lock before holder
  something_of_everything
  for lock in .repro/runs/run/lock upstream/TinyRecursiveModels/data/arc2.lock; do
    flock "$lock" sleep 60 3>&- &
    holder=$!
    wait_until bash -c "! flock --nonblock $lock sleep 0"
    before=$(find . -not -path './.git/*' | sort)
    in_runbook make clean YES=1 DATA=1
    pkill -P "$holder"
    wait "$holder" || true
    assert_output --partial "a run is at work (it holds $lock): nothing was deleted"
    assert_equal "$(find . -not -path './.git/*' | sort)" "$before"
  done
  in_runbook make clean YES=1
  assert_success
}

@test "make clean DATA=1 alone deletes nothing; with YES=1 it deletes data and checkpoints as well" {
  local path
  something_of_everything
  in_runbook make clean DATA=1
  assert_output --partial "would delete $RUNBOOK/upstream/TinyRecursiveModels/checkpoints"
  assert_file upstream/TinyRecursiveModels/checkpoints
  in_runbook make clean DATA=1 YES=1
  assert_success
  for path in .repro/work artifacts upstream/TinyRecursiveModels/{data,checkpoints}; do refute_file "$path"; done
  assert_file upstream/TinyRecursiveModels
}

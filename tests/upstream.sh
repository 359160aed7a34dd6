#!/usr/bin/env bash
# Usage: TRM_REMOTE=… tests/upstream.sh
# Summary: The real upstream: cloned at the pin, its own builder on its own data, digests compared; its model beside
#   the reference engine's; all eight steps of its rehearsal on a CPU, and both engines side by side.
# Reads: TRM_REMOTE (a clone of upstream, or its URL); PY; packages from the registry, by digest.
# Writes: a throw-away folder below .repro/, deleted at the end.
# Guarantees: the builder's files are those of tests/golden/dataset/digests.json, cases arc2_aug3 and arc1concept_aug3;
#   the engine computes what upstream's model does, in every configuration of bench/agreement.py; upstream computes on
#   this machine what is on record in the recipe of its rehearsal; make crosscheck finds no difference, and each of
#   some mutations of the engine.
# Exit: 0 equal · not 0 otherwise

set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/.."
: "${TRM_REMOTE:?the real upstream: a local clone of it, or its URL}"
: "${PY:=python3.10}"
here=$PWD work=$PWD/.repro/test-upstream

main() {
  local name
  rm -rf "$work"
  mkdir -p "$work/runbook"
  trap 'rm -rf "$work"' EXIT
  trap 'exit 130' INT TERM
  cp -R Makefile env.sh lib steps recipes locks docs "$work/runbook"
  ln -s "$PWD/.venv" "$work/runbook/.venv"
  export TRM_REMOTE PY TRM_DIR=$work/trm VENV_DIR=$work/venv PUBLISH_TO_KAGGLE=0 KNOBS_WITHOUT_LOCAL=1

  write_recipe arc2 arc2_aug3 training2 evaluation2
  write_recipe arc1 arc1concept_aug3 training evaluation concept
  make_builder_environment
  for name in arc2_aug3 arc1concept_aug3; do
    export RECIPE=$name
    # step 3 did not make this environment, and the bytes that come of it are compared
    (cd "$work/runbook" && steps/02-clone.sh && OVERRIDE=G-ENVIRONMENT-FILES steps/04-dataset.sh)
    golden "$name" | (cd "$TRM_DIR/data/$name" && sha256sum --check --quiet)
    printf '%s: upstream at %s, its builder: %s files, all as in tests/golden\n' \
      "$name" "$(git -C "$TRM_DIR" rev-parse --short HEAD)" "$(golden "$name" | wc -l)"
  done

  .venv/bin/python -m bench.agreement --upstream "$TRM_DIR"
  rehearse
  crosscheck
}

# All eight steps of upstream's rehearsal on a CPU; its bundle is what it says, and anybody can score it.
rehearse() {
  local folder=$work/runbook/artifacts/arc2_upstream_cpu
  export RECIPE=arc2-rehearsal-upstream-cpu
  (cd "$work/runbook" && time lib/all.sh)
  grep -q '"name": "early",' "$folder/verdict.json"
  grep -q 'CPU support for CUDA-only code' "$folder/report.html"
  .venv/bin/trm-repro verify "$TRM_DIR/kaggle_dataset_arc2_arc2_upstream_cpu"
  unset RECIPE
}

# Both engines side by side; then ours with one thing wrong, which must be seen.
crosscheck() {
  local name words rehearsed=$TRM_DIR/checkpoints/Arc2-rehearsal-aug-8-ACT-torch/arc2_upstream_cpu
  (cd "$work/runbook" && time lib/crosscheck.sh --keep) 2> >(tee "$work/said" >&2)
  words=$(sed -n 's/^-> python -m trm_repro.engine.pretrain //p' "$work/said")
  eval "words=($words)"
  for name in eps label average; do
    (cd "$TRM_DIR" && "$here/.venv/bin/python" "$here/tests/unit/mutations.py" "$name" "${words[@]}" \
      "++checkpoint_path=$work/$name" >/dev/null)
    .venv/bin/trm-repro step crosscheck --rehearsed "$rehearsed" --upstream "${rehearsed}_crosscheck" \
      --ours "$work/$name" --dataset "$TRM_DIR/data/arc2-rehearsal-aug-8" --output "$work/$name.json" \
      --built "$work/runbook/.repro/crosscheck/data" || true
    grep -q '"agrees": false' "$work/$name.json" || # a crash is no answer
      { echo "error: the mutation '$name' was not seen" >&2 && return 1; }
  done
}

# write_recipe TARGET NAME TRAINING EVALUATION [MORE]: upstream's builder command with --num-aug 3.
write_recipe() {
  cat >"$work/runbook/recipes/$2.yaml" <<YAML
target_dataset: $1
run_name: $2
trm_dir: upstream/TinyRecursiveModels

base: samsung-arc2
title: Upstream's builder, 3 augmentations
source: tests/upstream.sh
engine: upstream
faithful: false
publish: package

dataset:
  folder: data/$2
  digests: ""
  arguments: [--input-file-prefix, kaggle/combined/arc-agi, --output-dir, data/$2,
    --subsets, $3, $4, ${5:+$5, }--test-set-name, $4, --num-aug, "3"]
YAML
}

# The builder needs few of the locked packages; those, by digest.
make_builder_environment() {
  "$PY" -m venv "$VENV_DIR"
  locked argdantic pydantic pydantic-settings pydantic-core annotated-types typing-extensions typing-inspection \
    python-dotenv click numpy tqdm >"$work/builder.txt"
  "$VENV_DIR/bin/pip" install --quiet --disable-pip-version-check --require-hashes --no-deps -r "$work/builder.txt"
}

# locked PACKAGE…: their lines of the lock, with digests.
locked() {
  awk -v wanted="$*" '
    BEGIN { split(wanted, names, " "); for (i in names) kept[names[i]] }
    /^[a-z]/ { keep = substr($1, 1, index($1, "==") - 1) in kept }
    keep' locks/cu130.txt
}

# golden CASE: its files and digests, as sha256sum writes them.
golden() {
  .venv/bin/python -c '
import json, sys
for name, sha256 in json.load(open("tests/golden/dataset/digests.json"))[sys.argv[1]]["variants"][0]["files"].items():
    print(f"{sha256}  {name}")' "$1"
}

main "$@"

#!/usr/bin/env bats
# The doorway between bash and Python: how often a step goes through it.

load helper

# counted: from here on, each start of trm-repro is written down.
counted() {
  rm .venv/bin && mkdir .venv/bin
  ln -s "$REPO"/.venv/bin/* .venv/bin
  rm .venv/bin/trm-repro
  printf '#!/bin/sh\necho "$*" >>"$STUBS/starts"\nexec "%s/.venv/bin/trm-repro" "$@"\n' "$REPO" >.venv/bin/trm-repro
  chmod +x .venv/bin/trm-repro
}

# bats test_tags=deep
@test "no step starts Python more than three times, a fresh one once, and make all with nothing to do once" {
  local step
  make_runbook "$BATS_TEST_TMPDIR"
  training_environment
  counted
  for step in steps/*.sh; do
    : >"$STUBS/starts"
    in_runbook "$step"
    assert_success
    (($(wc -l <"$STUBS/starts") <= 3)) || fail "$step: $(<"$STUBS/starts")"
    : >"$STUBS/starts"
    in_runbook "$step"
    assert_output "$(basename -s .sh "$step"): fresh"
    assert_equal "$(<"$STUBS/starts")" "step begin $(basename -s .sh "$step")"
  done
  : >"$STUBS/starts"
  in_runbook make all
  assert_output "$(basename -s .sh steps/*.sh | sed 's/$/: fresh/')"
  assert_equal "$(<"$STUBS/starts")" 'step fresh'
}

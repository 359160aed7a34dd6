# What only a virtual environment has.
# shellcheck shell=bash
# shellcheck disable=SC2034 # helper.bash asks
VENV_PROGRAMS=(python pip torchrun)

# make_venv DIR: what `python -m venv` leaves; its programs are stubs.
make_venv() {
  mkdir -p "$(dirname "$1")"
  cp -RT --preserve=mode "$STANDIN_VENV" "$1"
}

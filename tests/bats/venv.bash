# make_venv DIR: what `python -m venv` leaves; its programs are stubs.
# shellcheck shell=bash
make_venv() {
  local name
  mkdir -p "$1/bin"
  for name in python pip torchrun; do ln -sf "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/stub.bash" "$1/bin/$name"; done
}

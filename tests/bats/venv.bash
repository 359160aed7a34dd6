# What only a virtual environment has.
# shellcheck shell=bash
VENV_PROGRAMS=(python pip torchrun)

# make_venv DIR: what `python -m venv` leaves; its programs are stubs.
make_venv() {
  local name
  mkdir -p "$1/bin"
  for name in "${VENV_PROGRAMS[@]}"; do
    ln -sf "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/stub.bash" "$1/bin/$name"
  done
}

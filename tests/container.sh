#!/usr/bin/env bash
# Usage: [MOUNTS=…] tests/container.sh [bases build rehearsal onstart]
# Summary: machines/Dockerfile built and run without a registry of images: the rehearsal in it, killed half-way, started
#   again; and machines/onstart.sh, killed and started again, in a bare Debian.
# Reads: Debian's and Python's package registries; this machine's Python 3.10 and 3.11 (PYTHON310, PYTHON311: their
#   folders),
#   which must be relocatable, as pyenv's are; mmdebstrap, buildah, podman, crun; being root.
# Writes: images and a volume under the name trm-test, a throw-away folder below .repro/; all deleted at the end
#   (KEEP=1).
# Environment: MOUNTS: what pip and apt of this machine read to reach their registries, as FROM:TO words
# Exit: 0 so it is · 3 a program is missing, or this is not root · not 0 otherwise

set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/.."
work=$PWD/.repro/test-container
secret=planted-$RANDOM$RANDOM$RANDOM # written nowhere but where it is planted
mounts=()
for mount in ${MOUNTS-}; do mounts+=(--volume "$mount:ro"); done
image=localhost/trm-test

main() {
  local name
  for name in mmdebstrap buildah podman crun; do
    type -P "$name" >/dev/null ||
      { echo "error: $name is missing: apt-get install mmdebstrap buildah podman crun" >&2 && exit 3; }
  done
  ((EUID == 0)) || { echo "error: building these images needs root" >&2 && exit 3; }
  # crun refuses cgroups that are partly of version 2; in a mount namespace of our own there are none of those
  [[ ! -d /sys/fs/cgroup/unified || -n ${IN_NAMESPACE-} ]] || IN_NAMESPACE=1 exec unshare --mount "$0" "$@"
  [[ ! -d /sys/fs/cgroup/unified ]] || umount /sys/fs/cgroup/unified
  mkdir -p "$work"
  [[ -n ${KEEP-} ]] || trap cleanup EXIT
  trap 'exit 130' INT TERM
  (($#)) || set -- bases build rehearsal onstart
  for name; do "$name"; done
}

cleanup() {
  podman rm --force --ignore trm-test >/dev/null
  podman volume rm --force trm-test >/dev/null
  podman rmi --force --ignore "$image" "$image"-python:3.10 "$image"-python:3.11 >/dev/null
  rm -rf "$work"
}

# What python:3.1x-slim-bookworm is: Debian 12, and a Python in /usr/local.
bases() {
  local where='import sys; print(sys.base_prefix)'
  [[ -f $work/debian.tar ]] || mmdebstrap --quiet --variant=minbase bookworm "$work/debian.tar" \
    --include=ca-certificates,libbz2-1.0,libffi8,liblzma5,libncursesw6,libreadline8,libsqlite3-0,libssl3,libuuid1,zlib1g
  base 3.10 "${PYTHON310:-$(python3.10 -c "$where")}"
  base 3.11 "${PYTHON311:-$(python3.11 -c "$where")}"
}
base() {
  local folder=$work/python$1
  ! podman image exists "$image-python:$1" || return 0
  rm -rf "$folder" && mkdir -p "$folder/usr/local"
  tar -C "$folder" -xf "$work/debian.tar"
  tar -C "$2" -c --exclude='site-packages/*' --exclude='python*/test' bin include lib | tar -C "$folder/usr/local" -x
  chroot "$folder" ldconfig
  tar -C "$folder" -c . | podman import --quiet \
    --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' - "$image-python:$1" >/dev/null
  rm -rf "$folder"
}

# From a clone with everything that is here, committed or not; with a remote and a setting that hold secrets.
build() {
  rm -rf "$work/context"
  git clone --quiet . "$work/context"
  git ls-files -z --cached --others --exclude-standard |
    tar --null --files-from=- --ignore-failed-read -c | tar -C "$work/context" -x
  git -C "$work/context" remote set-url origin "https://$secret@example.invalid/"
  echo "export HF_TOKEN=$secret" >"$work/context/env.local.sh"
  buildah bud --quiet --layers --isolation chroot "${mounts[@]}" \
    --file "$work/context/machines/Dockerfile" --tag "$image" \
    --build-arg BASE="$image-python:3.11" --build-arg PYTHON310="$image-python:3.10" "$work/context"
  [[ $(in_it id -u) == 1000 ]]
  in_it python3.10 -c 'import ctypes, ssl, sqlite3, venv; print("Python 3.10 works in it")'
  local found=0 # grep: 1 nothing, 2 not everything could be read
  in_it grep --recursive --files-with-matches "$secret" . || found=$?
  ((found == 1)) || { echo "error: the search of the image for the secret ended with $found" >&2 && exit 1; }
}

container() {
  podman run --cgroups=disabled --ulimit nofile="$(ulimit -Hn):$(ulimit -Hn)" --ulimit nproc=8192:8192 "$@"
}
in_it() { container --rm --network none --entrypoint "$1" "$image" "${@:2}"; }

# Three containers on one volume, without a network: stopped, killed, and to the end.
rehearsal() {
  local log=$work/rehearsal step
  podman volume rm --force trm-test >/dev/null # of an earlier call with KEEP=1
  run_rehearsal "$log.1" &
  trains "$log.1"
  podman stop --time 90 trm-test >/dev/null
  wait "$!" || true
  grep 'the training was stopped' "$log.1"
  run_rehearsal "$log.2" &
  trains "$log.2"
  podman kill trm-test >/dev/null
  wait "$!" || true
  run_rehearsal "$log.3"
  for step in 02-clone 03-venv 04-dataset; do grep "^$step: fresh" "$log.3"; done
  grep 'set aside as' "$log.3"
  container --rm --network none --volume trm-test:/home/trm/trm-repro "$image" verify RECIPE=arc2-rehearsal
}
run_rehearsal() {
  container --rm --name trm-test --network none --shm-size 1g --volume trm-test:/home/trm/trm-repro \
    "$image" rehearse >"$1" 2>&1
}

# trains LOG: waits until a run is in the middle of training.
trains() {
  local end=$((SECONDS + 2400))
  until grep -q 'training arc2_rehearsal: [3-9]/' "$1"; do
    ((SECONDS < end)) || { tail -n 30 "$1" >&2 && exit 1; }
    sleep 1
  done
}

# In Python's bare image, as root, with the network: nothing is there but Debian and a Python.
onstart() {
  local log=$work/onstart
  git -C "$work/context" checkout --quiet -B main
  git -C "$work/context" -c user.name=test -c user.email=test@example.invalid \
    commit --quiet --all --message test || true
  podman volume rm --force trm-test >/dev/null
  run_onstart "$log.1" &
  trains "$log.1"
  podman kill trm-test >/dev/null
  wait "$!" || true
  run_onstart "$log.2"
  grep 'this distribution has no Python 3.10' "$log.1"
  grep '^05-train: \|^08-handoff: ' "$log.2"
  run_onstart "$log.3"
  grep '^05-train: fresh' "$log.3"
}
run_onstart() {
  container --rm --name trm-test --network host "${mounts[@]}" \
    --volume "$work/context:/source:ro" --volume trm-test:/workspace --env REPRO_URL=/source \
    --env GIT_CONFIG_COUNT=1 --env GIT_CONFIG_KEY_0=safe.directory --env 'GIT_CONFIG_VALUE_0=*' \
    "$image-python:3.11" bash /source/machines/onstart.sh rehearse >"$1" 2>&1
}

main "$@"

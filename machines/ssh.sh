#!/usr/bin/env bash
# Usage: machines/ssh.sh HOST [WORDS OF MAKE…]      (default: all)
# Summary: Run this repository, as it is here, on another machine; come back at any time and see how far it is.
# Reads: every file that git tracks here; the knobs that are set in the environment.
# Writes: FOLDER on HOST, and there logs/ssh.log.
# Guarantees: the run outlives the connection; where one is under way already, it is followed and not started twice;
#   secrets travel through the connection into env.local.sh, mode 600, never on a command line.
# Environment: FOLDER (trm-repro, relative to the home folder there) SSH (ssh) and all knobs of env.sh
# Exit: 0 the run ended well · 1 it did not · 2 usage · 255 the connection failed

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source env.sh

main() {
  (($#)) || { sed -n '2,/^$/{s/^# \{0,1\}//;p}' machines/ssh.sh >&2 && exit 2; }
  local host=$1 folder=${FOLDER:-trm-repro}
  shift
  (($#)) || set -- all
  if there "$host" "cd $folder 2>/dev/null && [ -e logs/ssh.lock ] && ! flock --nonblock logs/ssh.lock true"; then
    echo "==> a run is under way on $host; following it" >&2
  else
    send "$host" "$folder"
    settings | there "$host" "umask 077 && cat >$folder/env.local.sh"
    there "$host" "cd $folder && exec bash -s -- ${*@Q}" <<'SCRIPT'
mkdir -p logs
rm -f logs/ssh.exit
exec 9>logs/ssh.lock
flock 9
: >logs/ssh.log # there, and empty, before anybody follows it: what runs in the background opens it when it comes to it
setsid nohup bash -c 'make "$@"; echo $? >logs/ssh.exit' bash "$@" >>logs/ssh.log 2>&1 </dev/null &
SCRIPT
  fi
  there "$host" "cd $folder && exec bash -s" <<'SCRIPT'
tail --lines=+1 --follow logs/ssh.log &
flock logs/ssh.lock sleep 1
kill "$!"
exit "$((0 != $(cat logs/ssh.exit 2>/dev/null || echo 1)))"
SCRIPT
}

# The commit that is checked out here, and over it every file as it is here.
send() {
  local unpack="mkdir -p $2 && cd $2 && git init --quiet && cat >.git/sent && git fetch --quiet .git/sent HEAD"
  git bundle create --quiet - HEAD |
    there "$1" "$unpack && git checkout --quiet --force --detach FETCH_HEAD"
  git ls-files -z --cached --others --exclude-standard | grep -zv '^upstream/' |
    tar --create --null --files-from=- --ignore-failed-read | there "$1" "tar --extract --directory $2"
}

there() { "${SSH:-ssh}" -o BatchMode=yes "$@"; }

# The knobs and secrets that were set for this call, as env.local.sh reads them.
settings() {
  local name
  for name in "${!_given[@]}" "${SECRETS[@]}"; do
    [[ -z ${!name-} || $name == TRM_DIR || $name == VENV_DIR ]] || printf 'export %s=%q\n' "$name" "${!name}"
  done
}

main "$@"

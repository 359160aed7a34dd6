# What runs share: a clone, an environment, a dataset. Who uses one holds its lock beside others who do, who makes or
# moves one holds it alone. The lock dies with the processes that hold it: those that a step started keep it, too.
# shellcheck shell=bash

LOCKED_ALONE=0

# use_shared PATH: from here on nobody moves it; waits while another run makes it.
use_shared() {
  ! dry && open_lock "$1" || return 0
  flock --shared --nonblock "$LOCK" && return
  note "another run is making $(short "$1"); waiting for it to end"
  flock --shared "$LOCK"
}

# make_shared PATH: as long as nobody else uses it, it is ours to make; LOCKED_ALONE says so. What another run has made
# in the meantime is looked at again.
make_shared() {
  LOCKED_ALONE=1
  ! dry && open_lock "$1" || return 0
  flock --nonblock "$LOCK" && return
  LOCKED_ALONE=0
  use_shared "$1"
  take_words
}

# not_in_use PATH: refuses to make anew what another run uses at this moment.
not_in_use() {
  ((LOCKED_ALONE)) || [[ ! -e $1 ]] ||
    die "$EXIT_INVARIANT" "another run uses $(short "$1") at this moment, and it is not what this run needs (above)" \
      "let the other run end, or set TRM_DIR (or VENV_DIR) to another folder"
}

# open_lock PATH: sets LOCK to a file descriptor of its lock; fails where none can be made: nobody can move it then.
open_lock() {
  mkdir -p "$(dirname "$1")" 2>/dev/null || return
  { exec {LOCK}<>"$1.lock"; } 2>/dev/null
}

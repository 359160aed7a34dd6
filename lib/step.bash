# How a step begins and ends. Python is started once at either end: it says that the step is fresh, or hands over all
# that the step needs to know; at the end it writes the stamp.
# shellcheck shell=bash

STEP='' DRY_RUN=0 FORCE=0 FINISHED=0
VOUCHER=''      # what vouches for the folder that this step makes, whatever the run; VOUCHED: it does
KEEP_FINISHED=0 # 1: a finished step that used GPUs runs again only with --force

# Whether nothing is to be done, only shown.
dry() { ((DRY_RUN)); }

# step_begin "$@": options; leaves if the step is fresh; the words of the recipe; the lock; the log.
step_begin() {
  STEP=$(basename "$0" .sh)
  while (($#)); do
    case $1 in
      --help | -h) help_text && exit 0 ;;
      --dry-run | -n) DRY_RUN=1 ;;
      --force | -f) FORCE=1 ;;
      *) die "$EXIT_USAGE" "unknown option '$1'" "steps/$STEP.sh --help" ;;
    esac
    shift
  done
  take_words
  dry || { take_over && open_log; }
  note "$STEP: $(sed -n 's/^# Summary: //p' "$0")"
}

# Leaves if the step is fresh; otherwise sets the variables that `trm-repro step begin` hands over.
take_words() {
  local words options=()
  [[ -x $TOOL/trm-repro ]] ||
    die "$EXIT_PREREQUISITE" "the tool environment .venv is not there" "run: make .venv/ready"
  [[ -x $TOOL/python ]] ||
    die "$EXIT_PREREQUISITE" "the tool environment .venv has lost its Python ($(readlink "$TOOL/python"))" \
      "rm -r .venv; make .venv/ready"
  ! dry || options+=(--dry-run)
  ((! FORCE)) || options+=(--force)
  words=$(repro step begin "$STEP" "${options[@]}") || exit
  if [[ $words == "$STEP: fresh" ]]; then
    printf '%s\n' "$words"
    exit 0
  fi
  # shellcheck source=/dev/null
  source /dev/stdin <<<"$words"
}

# One step of a run works at a time: waits for another to end, ends what a killed one left behind, and takes back the
# step's stamp, so that nothing half-done looks finished.
take_over() {
  local problem ways
  make_folders "$RUN_STATE" "logs/$RUN_NAME" "$ARTIFACTS"
  exec 9>>"$RUN_STATE/lock"
  if ! flock --nonblock 9; then
    note "$(<"$RUN_STATE/lock") works on this run; waiting for it to end"
    flock 9
    take_words
  fi
  if ((KEEP_FINISHED && NEEDS_GPU && ! FORCE)) && [[ -f $RUN_STATE/$STEP.stamp || -f $VOUCHER ]] && ! vouched; then
    problem="$STEP of this run is finished, and something it depends on has changed since (above)"
    ways="go on with it: make step-6; train beside it: RUN_NAME=another"
    ways+="; train again, and set it aside: make step-${STEP:1:1} FORCE=1"
    die "$EXIT_INVARIANT" "$problem; days of work are not repeated unasked" "$ways"
  fi
  printf '%s (process %s)\n' "$STEP" "$$" >"$RUN_STATE/lock"
  note_knobs
  end_orphans
  remove_leftovers
  export TRM_REPRO_STEP
  TRM_REPRO_STEP=$(mark_of_run)
  rm -rf "$RUN_STATE/$STEP.stamp"
}

# Writes down the knobs that the run has, for who looks at it later (lib/last.bash): no secret, no password in an
# address, and nothing of where this repository lies.
note_knobs() {
  local name
  for name in "${KNOBS[@]}"; do
    masked "${!name}"
    [[ " ${SECRETS[*]} " == *" $name "* || $REPLY != "${!name}" ]] ||
      printf '%s=%s\n' "$name" "${REPLY//"$REPRO_ROOT"/\$REPRO_ROOT}"
  done >"$RUN_STATE/.knobs.$$.part"
  mv "$RUN_STATE/.knobs.$$.part" "$RUN_STATE/knobs"
}

# make_folders PATH…: where a step writes; says what is wrong where it cannot.
make_folders() {
  local path said
  for path; do
    said=$(mkdir -p "$path" 2>&1) && [[ -w $path ]] && continue
    die "$EXIT_PREREQUISITE" "cannot write to $path${said:+ (${said##*: })}" \
      "it and what it lies in must be folders that this user may write to: mount, own, or move away what is there"
  done
}

# What every process of this run's steps carries in its environment: a path, and the disk that it lies on, since
# containers that share the host's processes (docker run --pid=host) often have the same paths.
mark_of_run() {
  printf '%s on device %s' "$REPRO_ROOT/$RUN_STATE" "$(find "$RUN_STATE" -maxdepth 0 -printf %D)"
}

# Ends the processes of an earlier step of this run that was killed before them: they would go on writing.
end_orphans() {
  local pid pids=()
  mapfile -t pids < <(grep -lszFx "TRM_REPRO_STEP=$(mark_of_run)" /proc/[0-9]*/environ | cut -d/ -f3)
  for pid in "${pids[@]}"; do
    kill -KILL "$pid" 2>/dev/null && warn "process $pid of an earlier, killed attempt was still running: ended it"
  done
  return 0
}

# Removes what killed processes had begun to write, under names that end in their number (files.py); a record that was
# cut off does not swallow the next.
remove_leftovers() {
  local leftover pid
  for leftover in "$RUN_STATE"/{commands,guards}.jsonl; do
    [[ ! -s $leftover || -z $(tail -c 1 "$leftover") ]] || echo >>"$leftover"
  done
  for leftover in {.repro,"$RUN_STATE","$ARTIFACTS","$(dirname "${VOUCHER:-.repro/none}")"}/.*.part; do
    pid=${leftover%.part} pid=${pid##*.}
    [[ ! $pid =~ ^[0-9]+$ || -d /proc/$pid ]] || rm -rf "$leftover"
  done
}

# From here on, stdout and stderr also go to the step's log. A terminal keeps its progress bars (progress.py). What
# writes the log ends when there is nothing more to write, and by no signal that ends the step: how it ended must
# stand in it.
open_log() {
  local folder=logs/$RUN_NAME
  ATTEMPT=$(basename "$(free_name "$folder/$STEP.$(date -u +%Y%m%dT%H%M%SZ)" .log)")
  LOG=$folder/$ATTEMPT.log
  : >"$LOG"
  trap 'step_failed $?' EXIT
  if [[ -t 2 ]]; then
    TRM_REPRO_TERMINAL=$(tty <&2)
    export TRM_REPRO_TERMINAL TRM_REPRO_LOG=$REPRO_ROOT/$LOG
  fi
  exec > >(trap '' INT TERM HUP && exec tee -a "$LOG" 9>&-) \
  2> >(trap '' INT TERM HUP && exec tee -a "$LOG" >&2 9>&-)
  STARTED=$(date -u +%FT%TZ)
}

# The exit trap: a step that ends before step_done has failed; say where to look, and whether the disk is why.
step_failed() {
  ((FINISHED)) || {
    no_room
    printf 'hint: the log of this step is %s\n' "$LOG" >&2
  }
  exec >&- 2>&- 9>&-
  wait # for tee to write the last lines
}

# Says so, where there is hardly room left to write to, or nothing may be written: programs that fail for that say it in
# many ways, or not at all.
no_room() {
  local place left full=0
  for place in . "$RUN_STATE" "$ARTIFACTS" "$TRM_DIR" "$(dirname "$TRM_DIR/${DATASET_FOLDER:-.}")" \
    "$(dirname "$TRM_DIR/${CHECKPOINT_FOLDER:-.}")" "$KAGGLE_DS_DIR" "${TMPDIR:-/tmp}"; do
    [[ -e $place ]] || continue
    [[ -w $place ]] || printf 'error: nothing can be written to %s\nhint: %s\n' "$(short "$(realpath "$place")")" \
      "mount it for writing, change its owner, or use another folder" >&2
    left=$(df -B1 --output=avail "$place" 2>/dev/null | tail -n 1) || continue
    [[ $left =~ ^\ *([0-9]+) ]] || continue
    left=${BASH_REMATCH[1]}
    ((full || left >= 4 << 20)) ||
      printf 'error: the disk of %s is full (%s bytes left)\nhint: free some space, and give the same command again\n' \
        "$(short "$(realpath "$place")")" "$left" >&2
    ((left >= 4 << 20)) || full=1
  done
  return 0
}

# Whether what this step makes is there already, for every run that means the same: its voucher holds.
vouched() { [[ -n $VOUCHER && -n $VOUCHED ]]; }

# step_done SENTENCE OUTPUT…: writes the voucher, if this step has one, and the stamp, last; one line of result on
# stdout.
step_done() {
  ! dry || exit 0
  local voucher=()
  [[ -z $VOUCHER ]] || voucher=(--voucher "$VOUCHER" --means "$MEANS")
  ! vouched || voucher+=(--vouched)
  repro step end "$STEP" --started "$STARTED" --said "$1" --log "$LOG" --attempt "$ATTEMPT" "${voucher[@]}" \
    --outputs "${@:2}"
  printf '%s: %s\n' "$STEP" "$1"
  FINISHED=1
}

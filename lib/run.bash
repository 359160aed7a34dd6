# Commands that a step runs: printed before, recorded after, in a dry run only printed.
#
# A record is one JSON object a line, appended at once, so that a kill loses nothing that was done. It is written here
# and not by Python, which would have to be started for each.
# shellcheck shell=bash

RUN_UNDER=()
ATTEMPT='' # the name of this attempt at the step: records bear it

# run COMMAND…: prints the command, runs it, records it. In a dry run it is printed only.
# Its working folder is RUN_CWD, relative to the repository, if that is set; RUN_UNDER is a program that runs it for us.
# With RUN_PASSED=1, the variables that PASSED names reach it and no others; what runs it for us sees to that itself.
run() {
  local cwd=${RUN_CWD:-.} began code=0
  printf -- '-> %s%s\n' "$([[ $cwd == . ]] || printf '(cd %s) ' "${cwd@Q}")" "$(shell_words "$@")" >&2
  ! dry || return 0
  [[ $1 != trm-repro ]] || local PATH=$TOOL:$PATH # ours, and nothing else of the tool environment
  began=$(date -u +%FT%TZ)
  (
    cd "$cwd" || exit
    [[ -z ${RUN_PASSED-} ]] || ((${#RUN_UNDER[@]})) || keep_variables "${PASSED[@]}"
    exec "${RUN_UNDER[@]}" "$@" 9>&-
  ) || code=$?
  record_command "$cwd" "$began" "$code" "$@"
  ((code != 130)) || exit 130 # Ctrl-C: nothing has failed
  return "$code"
}

# The words of a command, quoted so that they can be pasted into a shell; a password in an address is masked.
shell_words() {
  local word out=''
  for word in "$@"; do
    masked "$word" && word=$REPLY
    if [[ $word =~ ^[A-Za-z0-9_./:=@%+,-]+$ ]]; then out+="$word "; else out+="${word@Q} "; fi
  done
  printf '%s\n' "${out% }"
}

# record_command CWD BEGAN CODE WORD…: with the variables that RECORDED names, and none that may hold a secret; with
# RUN_PASSED, with all that reached it, of which those that are nobody's business are only named.
record_command() {
  local name value line env=''
  json "$STEP" && line="{\"step\": $REPLY"
  json "${@:4}" && line+=", \"argv\": [$REPLY]"
  json "$1" && line+=", \"cwd\": $REPLY"
  for name in $(compgen -e); do
    value=${!name}
    if [[ -n ${RUN_PASSED-} ]]; then
      [[ " ${PASSED[*]} " == *" $name "* && ! $name =~ ^TRM_REPRO_(STEP|TERMINAL|LOG|METRICS|TORCH)$ ]] || continue
      [[ ! $name =~ $MASKED && ! ${name^^} =~ $MASKED ]] || value='********'
    else
      [[ $name =~ $RECORDED && ! ${name^^} =~ $SECRET ]] || continue
    fi
    json "$value" && env+=", \"$name\": $REPLY"
  done
  line+=", \"env\": {${env:2}}, \"started\": \"$2\", \"finished\": \"$(date -u +%FT%TZ)\", \"exit_code\": $3"
  printf '%s, "host": %s, "attempt": "%s"}\n' "$line" "$HOST" "$ATTEMPT" >>"$RUN_STATE/commands.jsonl"
}

# record_guard GUARD OUTCOME DETAIL
record_guard() {
  json "$3"
  printf '{"step": "%s", "guard": "%s", "outcome": "%s", "detail": %s, "started": "%s", "attempt": "%s"}\n' \
    "$STEP" "$1" "$2" "$REPLY" "$(date -u +%FT%TZ)" "$ATTEMPT" >>"$RUN_STATE/guards.jsonl"
}

# json WORD…: sets REPLY to the words as JSON strings, a comma between them; a password in an address is masked.
json() {
  local word text i char all=''
  for word; do
    masked "$word" && word=$REPLY
    text=${word//\\/\\\\} text=${text//\"/\\\"}
    if [[ $text == *[[:cntrl:]]* ]]; then
      word=$text text=''
      for ((i = 0; i < ${#word}; i++)); do
        char=${word:i:1}
        [[ $char != [[:cntrl:]] ]] || printf -v char '\\u%04x' "'$char"
        text+=$char
      done
    fi
    all+=", \"$text\""
  done
  REPLY=${all:2}
}

# set_aside PATH: moves something that is not trusted out of the way, with its voucher, under a name that says so.
# Files that upstream tracks there stay. In a dry run nothing is moved.
set_aside() {
  local place entry entries=()
  if dry || [[ ! -e $1 && ! -L $1 ]]; then return 0; fi
  place=$(free_name "$1.set-aside-$(date -u +%Y%m%dT%H%M%SZ)")
  if ! upstream_is_cloned || [[ -z $(git -C "$1" ls-files 2>/dev/null) ]]; then
    mv -- "$1" "$place"
  else
    mapfile -t entries < <(git -C "$1" ls-files --others --directory)
    ((${#entries[@]})) || return 0
    mkdir -- "$place"
    for entry in "${entries[@]}"; do mv -- "$1/$entry" "$place"; done
  fi
  [[ ! -f $1.voucher.json ]] || mv -- "$1.voucher.json" "$place.voucher.json"
  warn "$1 was left by an attempt that did not finish, or made for something else (no stamp vouches for it):" \
    "set aside as $place"
}

# free_name NAME [SUFFIX]: that name, or with a number behind it if NAMESUFFIX is there already.
free_name() {
  local name=$1 count=1
  while [[ -e $name${2-} || -L $name${2-} ]]; do name=$1_$((count++)); done
  printf '%s\n' "$name"
}

# Sourced by the shell of every command of the lists.

# forwarded TARGET PORT COMMAND...: runs COMMAND while a port-forward serves, with its address in $URL.
forwarded() {
  local log target=$1 port=$2
  log=$(mktemp -p .)
  shift 2
  kubectl port-forward "$target" ":$port" >"$log" 2>"$log.err" &
  served "$log" "$@"
}

# proxied FLAGS COMMAND...: the same with `kubectl proxy FLAGS`.
proxied() {
  local log flags=$1
  log=$(mktemp -p .)
  shift
  # shellcheck disable=SC2086 # several flags
  kubectl proxy --port=0 $flags >"$log" 2>"$log.err" &
  served "$log" "$@"
}

served() {
  local log=$1 code=0 port=
  shift
  for _ in $(seq 100); do
    port=$(sed -nE 's/.*127\.0\.0\.1:([0-9]+).*/\1/p' "$log" | head -n 1)
    [ -n "$port" ] && break
    sleep 0.1
  done
  URL=http://127.0.0.1:$port "$@" || code=$?
  kill %1 2>/dev/null
  wait %1 2>/dev/null
  cat "$log" "$log.err"
  return $code
}

# terminal COMMAND: runs a command line on a terminal of 24 lines and 80 columns. What is piped in is typed; the end
# of the input comes out as ^@ now and then, and kubectl may be told of it after the command has ended: then it logs that
# it could not copy it.
terminal() {
  script --quiet --return --command "stty rows 24 cols 80; $1" /dev/null | sed 's/\^@//g; /Copying stdin failed/d'
  return "${PIPESTATUS[0]}"
}

# $SIZE, for a shell in a container: says the size of its terminal, once it is that of `terminal`. kubectl tells it only
# after the command has begun, and `kubectl run` another one first.
export SIZE='for i in 1 2 3 4 5 6 7 8 9; do stty size 2>&1 | grep -qx 24.80 && break; sleep 0.5; done; stty size'

# eventually COMMAND...: again and again until it succeeds, for 20 seconds at most; prints the last output.
eventually() {
  local out
  for _ in $(seq 100); do
    out=$("$@" 2>&1) && break
    sleep 0.2
  done
  echo "$out"
}

# first N COMMAND...: the first lines of a command that goes on for ever.
first() {
  head -n "$1" < <(shift && exec "$@")
}

# What a diff says, without places and times, which depend on when it was asked; it must find something.
differs() {
  "$@" | grep '^[-+]' | grep -v -e '^---' -e '^+++' -e ' time: '
  [ "${PIPESTATUS[0]}" -eq 1 ]
}

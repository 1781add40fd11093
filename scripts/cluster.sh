#!/usr/bin/env bash
# The local three-node cluster: see usage() below.
set -euo pipefail

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
state=$root/.kvd-cluster # data, pid files and logs
kvd=$root/build/release/kvd
kvctl=$root/build/release/kvctl
self=$(basename "$0")

usage() {
  cat <<END
The local three-node cluster: n1, n2, n3, clients on 127.0.0.1:7401-7403, peers on 127.0.0.1:7501-7503.

  $self up          install what is missing, build, start what does not run, try a first PUT and GET
  $self status      processes, roles and positions (exit status 1 if not all three run)
  $self kill N      SIGKILL node N (1, 2, 3 or n1, n2, n3): it is gone at once
  $self pause N     SIGSTOP: it hangs
  $self resume N    SIGCONT: it goes on
  $self restart N   stop it (if it runs) and start it again
  $self logs N      its last 50 log lines; with -f also what comes
  $self down        SIGTERM all; whoever still runs after 10 s is killed
  $self clean       down, and remove the data

Configuration: config/n1.toml, n2.toml, n3.toml. Data, logs and pid files: .kvd-cluster/
END
}

say() { printf '%s\n' "$*"; }
warn() { printf '%s: %s\n' "$self" "$*" >&2; }
fail() {
  warn "$*"
  exit 1
}
misuse() {
  warn "$*"
  warn "see '$self help'"
  exit 2
}

# ---- Processes -------------------------------------------------------------------------------------------

# A pid alone can be recycled: pid and start time together name one process for ever.
# Fields of /proc/PID/stat, counted behind the program's name, which may hold blanks and brackets.
stat_field() {
  local pid=$1 number=$2 line fields
  line=$(cat "/proc/$pid/stat" 2>/dev/null) || return 1
  read -r -a fields <<<"${line##*) }"
  printf '%s' "${fields[number - 3]}"
}

# Prints the pid of a node that this script started and that still runs.
pid_of() {
  local pid started
  [[ -f $state/$1.pid ]] && read -r pid started <"$state/$1.pid" || return 1
  [[ $(stat_field "$pid" 22) == "$started" && $(stat_field "$pid" 3) != Z ]] || return 1
  printf '%s' "$pid"
}

is_paused() { [[ $(stat_field "$1" 3) == T ]]; }

# Starts a node; `reach` says whether it came up. `log_before` remembers where its new log lines begin.
declare -A log_before=()
start() {
  local node=$1 pid
  mkdir -p "$state"
  touch "$state/$node.log"
  log_before[$node]=$(stat -c %s "$state/$node.log")
  # A session of its own, so that Ctrl-C in this terminal is not for the servers. The data directory in the
  # config file is relative to the repository's root.
  (cd "$root" && exec setsid "$kvd" --config "config/$node.toml") >>"$state/$node.log" 2>&1 </dev/null 9>&- &
  pid=$!
  printf '%s %s\n' "$pid" "$(stat_field "$pid" 22)" >"$state/$node.pid"
}

show_log_end() {
  local node=$1
  tail -c "+$((${log_before[$node]:-0} + 1))" "$state/$node.log" | tail -n 15 | sed "s/^/  $node | /" >&2
}

# Whether the process listens on the port. That somebody does is not enough: another program may have it.
listens() {
  local pid=$1 port inode open
  printf -v port ':%04X' "$2"
  open=$(readlink "/proc/$pid/fd/"* 2>/dev/null) || true
  while read -r inode; do
    [[ $open == *"socket:[$inode]"* ]] && return
  done < <(awk -v port="$port" '$4 == "0A" && substr($2, length($2) - 4) == port { print $10 }' /proc/net/tcp*)
  return 1
}

# Waits until the node takes connections: at most 10 s, less if it gives up by itself.
reach() {
  local node=$1 pid end=$((SECONDS + 10))
  while true; do
    if ! pid=$(pid_of "$node"); then
      warn "$node did not start. It says:"
      show_log_end "$node"
      return 1
    fi
    listens "$pid" "740${node#n}" && return
    if ((SECONDS > end)); then
      warn "$node has started but takes no connections yet. Its log:"
      show_log_end "$node"
      return 1
    fi
    sleep 0.05
  done
}

# Stops the nodes given, all at once: SIGTERM, and after 10 s SIGKILL.
stop() {
  local node pid end left=()
  for node in "$@"; do
    pid=$(pid_of "$node") || continue
    # In this order a paused one finds the SIGTERM when it wakes.
    kill -TERM "$pid" 2>/dev/null || true
    kill -CONT "$pid" 2>/dev/null || true
    left+=("$node")
  done
  end=$((SECONDS + 10))
  while [[ ${#left[@]} -gt 0 ]]; do
    local running=()
    for node in "${left[@]}"; do
      if pid=$(pid_of "$node"); then
        if ((SECONDS > end)); then
          warn "$node (pid $pid) did not stop within 10 s: killed"
          kill -KILL "$pid" 2>/dev/null || true
          end=$((SECONDS + 10))
        fi
        running+=("$node")
      else
        rm -f "$state/$node.pid"
        say "$node stopped"
      fi
    done
    left=("${running[@]+"${running[@]}"}")
    [[ ${#left[@]} -eq 0 ]] || sleep 0.1
  done
}

# Two of these at once would start nodes twice and lose a pid file. Held until this script ends.
lock() {
  mkdir -p "$state"
  exec 9>"$state/lock"
  flock -n 9 || fail "another $self is starting or stopping nodes: try again when it is done"
}

# ---- Commands --------------------------------------------------------------------------------------------

build() {
  "$root/scripts/install-deps.sh"
  mkdir -p "$state"
  [[ -x $kvd && -x $kvctl ]] || say 'Building kvd and kvctl: a few minutes the first time'
  quietly cmake --preset release
  local make=(cmake --build build/release --parallel "$(nproc)" --target kvd kvctl)
  if [[ -t 1 ]]; then # its progress is one line that is written over
    (cd "$root" && "${make[@]}") || fail 'the build failed: see above'
  else
    quietly "${make[@]}"
  fi
}

# Runs a step of the build, whose output is shown only if it fails.
quietly() {
  (cd "$root" && "$@") >"$state/build.log" 2>&1 && return
  tail -n 30 "$state/build.log" >&2
  fail "'$*' failed: see above"
}

# Waits until the cluster has a leader: at most 30 s.
wait_for_leader() {
  local end=$((SECONDS + 30)) node
  until "$kvctl" -e 127.0.0.1:7401,127.0.0.1:7402,127.0.0.1:7403 --timeout 1s status -o json 2>/dev/null |
    grep -Eq '"leader": *"[^"]+"'; do
    for node in n1 n2 n3; do
      pid_of "$node" >/dev/null && continue
      warn "$node has stopped. Its last lines:"
      show_log_end "$node"
      return 1
    done
    if ((SECONDS > end)); then
      warn 'no leader was elected within 30 s. The last log lines:'
      for node in n1 n2 n3; do show_log_end "$node"; done
      return 1
    fi
    sleep 0.1
  done
}

# Shows a command as one would type it, and runs it.
show() {
  say "  \$ $*"
  (cd "$root" && "$@") 2>&1 | sed 's/^/  /'
}

up() {
  local node pid paused=false started=() running=()
  for node in n1 n2 n3; do
    if pid=$(pid_of "$node"); then
      if is_paused "$pid"; then
        say "$node is up (pid $pid) but paused: '$self resume ${node#n}' lets it go on"
        paused=true
      else
        say "$node is already up (pid $pid)"
      fi
      running+=("$node")
    fi
  done
  if [[ ${#running[@]} -eq 3 ]]; then
    say "The cluster is up: '$self status' shows it"
    return
  fi
  build
  for node in n1 n2 n3; do
    pid_of "$node" >/dev/null && continue
    start "$node"
    started+=("$node")
  done
  for node in "${started[@]}"; do
    reach "$node" || fail "the cluster is not up. '$self down' stops what runs, '$self logs ${node#n}' shows more"
    say "$node is up: clients on 127.0.0.1:740${node#n}, log in .kvd-cluster/$node.log"
  done
  wait_for_leader || fail "the cluster is not ready. '$self logs N' shows more"
  $paused || greet
}

greet() {
  say
  say 'A first PUT through n1, and a GET through n3:'
  show build/release/kvctl -e 127.0.0.1:7401 put greeting hello
  show build/release/kvctl -e 127.0.0.1:7403 get greeting
  cat <<END

Ready. What to try next:
  build/release/kvctl                      the shell (help shows its commands)
  build/release/kvctl status               who leads, and how far each one is
  scripts/cluster.sh kill 1                then put and get again: two of three are enough
  scripts/cluster.sh restart 1             it catches up
  scripts/cluster.sh down                  stop; the data stays for the next 'up'
END
}

status() {
  local node pid all=0 any=false
  for node in n1 n2 n3; do
    if ! pid=$(pid_of "$node"); then
      say "$node  down"
      all=1
    elif is_paused "$pid"; then
      say "$node  paused   pid $pid"
      any=true
    else
      say "$node  running  pid $pid"
      any=true
    fi
  done
  if $any && [[ -x $kvctl ]]; then
    say
    "$kvctl" -e 127.0.0.1:7401,127.0.0.1:7402,127.0.0.1:7403 --timeout 1s status || true
  fi
  return "$all"
}

# Sends a signal to a node that must run.
signal() {
  local node=$1 name=$2 done=$3 pid
  pid=$(pid_of "$node") || fail "$node does not run: '$self restart ${node#n}' starts it"
  kill -s "$name" "$pid"
  say "$node $done (pid $pid)"
}

kill_node() {
  signal "$1" KILL killed
  rm -f "$state/$1.pid"
}

restart() {
  local node=$1
  [[ -x $kvd && -x $kvctl ]] || build
  stop "$node"
  start "$node"
  reach "$node" || exit 1
  say "$node is up (pid $(pid_of "$node"))"
}

logs() {
  local node=$1
  [[ -f $state/$node.log ]] || fail "$node has no log yet: '$self up' starts it"
  exec tail -n 50 ${2:+"$2"} "$state/$node.log"
}

clean() {
  stop n1 n2 n3
  rm -rf "$state"
  say 'The data is removed'
}

down() {
  local node any=false
  for node in n1 n2 n3; do
    pid_of "$node" >/dev/null && any=true
  done
  if ! $any; then
    say 'The cluster is down already'
    return
  fi
  stop n1 n2 n3
}

# "2" or "n2" -> n2
node_named() {
  case ${2:-} in
    [123]) node=n$2 ;;
    n[123]) node=$2 ;;
    '') misuse "'$1' needs to know which node: '$self $1 1'" ;;
    *) misuse "no node is called '$2': 1, 2 or 3" ;;
  esac
}

command=${1:-help}
case $command in
  up | down | clean | kill | restart) lock ;;
esac
case $command in
  up | down | status | clean)
    [[ $# -eq 1 ]] || misuse "'$command' takes nothing more, but got '$2'"
    "$command"
    ;;
  kill | pause | resume | restart)
    node_named "$@"
    [[ $# -eq 2 ]] || misuse "'$command' takes one node, but got '$3' too"
    case $command in
      kill) kill_node "$node" ;;
      pause) signal "$node" STOP "hangs: '$self resume ${node#n}' lets it go on" ;;
      resume) signal "$node" CONT 'goes on' ;;
      restart) restart "$node" ;;
    esac
    ;;
  logs)
    # -f may stand before or behind the node.
    follow=''
    arguments=()
    for argument in "${@:2}"; do
      case $argument in
        -f | --follow) follow=-f ;;
        *) arguments+=("$argument") ;;
      esac
    done
    node_named logs "${arguments[@]+"${arguments[@]}"}"
    logs "$node" "$follow"
    ;;
  help | -h | --help) usage ;;
  *) misuse "'$command' is not a command" ;;
esac

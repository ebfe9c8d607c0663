# The processes of one folder: launched, waited for, ended by their numbers; sourced by `redis` and `memcached`.
# shellcheck shell=bash

# Servers end by themselves after this time, whatever became of the test.
lifetime=40m
# Below those that the kernel gives to clients, so that no client takes the port of a server that restarts.
first_port=10000 ports=10000

folder='' launched=0
# shellcheck disable=SC2034 # For those who source this.
port=0

fail() {
    echo "tests/servers/${0##*/}: $*" >&2
    exit 1
}

# wait_until SECONDS COMMAND...
wait_until() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.05
    done
}

# ---- The folder ----

# Takes an empty folder, or one that was ours: its processes are ended and its files removed.
claim() {
    mkdir -p "$1"
    folder=$(realpath "$1")
    end_processes
    [[ -e $folder/environment || -z $(ls -A "$folder") ]] || fail "$folder is neither empty nor a folder of servers"
    rm -rf "${folder:?}"/*
    : >"$folder/environment"
}

# A folder for sockets, whose paths have at most 107 bytes.
socket_folder() {
    ((${#folder} > 90)) || { echo "$folder" && return; }
    mktemp -d | tee "$folder/sockets"
}

# tell NAME VALUE: a variable for the tests.
tell() {
    printf '%s=%q\n' "$1" "$2" >>"$folder/environment"
}

# ---- Launching ----

# A process's start, which tells it from a later one with its number; fails when it has ended.
started() {
    local stat fields
    # Not $(<file): without the file, bash ends the whole script.
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    read -ra fields <<<"${stat##*) }"
    [[ ${fields[0]} != Z ]] && echo "${fields[19]}"
}

# launch NAME COMMAND...: as a group of processes of its own, which is called $launched.
launch() {
    local name=$1
    shift
    mkdir -p "$folder/$name"
    # Not setsid: Linux weighs each session as a group of its own when it shares out the processors, and let a server
    # whose session did little wait for seconds while a busy test ran.
    nohup timeout --kill-after=5 "$lifetime" "$@" >"$folder/$name/log" 2>&1 </dev/null &
    launched=$!
    # Or the shell tells when one is killed. It may have ended already: its port was taken.
    disown "$launched" 2>/dev/null || true
    echo "$launched $(started "$launched")" >>"$folder/processes"
}

is_ready_or_gone() {
    "$1" || ! started "$launched" >/dev/null
}

# launch_on_free_port LAUNCH READY: calls LAUNCH with ports in $port until one is free and READY holds.
launch_on_free_port() {
    local try
    for try in {1..20}; do
        # shellcheck disable=SC2034 # LAUNCH reads it.
        port=$((first_port + RANDOM % ports))
        "$1"
        wait_until 20 is_ready_or_gone "$2" || break
        started "$launched" >/dev/null && return
    done
    fail "not started after $try tries; the last one said: $(find "$folder" -name log -newer "$folder/environment" -exec tail -n 5 {} +)"
}

# ---- Ending ----

running() {
    local process start
    while read -r process start; do
        [[ $(started "$process") != "$start" ]] || echo "$process"
    done <"$folder/processes"
}

none_runs() {
    [[ -z $(running) ]]
}

signal_groups() {
    local process
    for process in $(running); do
        kill "-$1" -- "-$process" 2>/dev/null || true
    done
}

end_processes() {
    [[ -e $folder/processes ]] || return 0
    signal_groups TERM
    wait_until 5 none_runs || signal_groups KILL
    wait_until 5 none_runs || fail "these processes do not end: $(running)"
    [[ ! -e $folder/sockets ]] || rm -rf "$(<"$folder/sockets")"
    rm -f "$folder/processes" "$folder/sockets"
}

# ---- The commands ----

start() {
    claim "$2"
    trap end_processes EXIT
    "start_$1"
    trap - EXIT
}

stop() {
    folder=$(realpath "$1")
    end_processes
}

# Runs a command beside servers of its own: run KIND COMMAND...
run() {
    local own status=0 lifetime=10m
    own=$(mktemp -d)
    # shellcheck disable=SC2064 # The folder of now.
    trap "end_processes; rm -rf '$own'" EXIT
    claim "$own"
    "start_$1"
    shift
    "$(dirname "${BASH_SOURCE[0]}")/with" "$own" "$@" || status=$?
    ((status == 0)) || tail -n 20 "$own"/*/log >&2
    return "$status"
}

# main ARGUMENTS...: start KIND DIR | stop DIR | run KIND COMMAND...
main() {
    case ${1-} in
        start) [[ $# == 3 && $(type -t "start_$2") == function ]] ;;
        stop) [[ $# == 2 ]] ;;
        run) (($# >= 3)) && [[ $(type -t "start_$2") == function ]] ;;
        *) false ;;
    esac || fail "start KIND DIR | stop DIR | run KIND COMMAND...; kinds: $(declare -F | sed -n 's/^declare -f start_//p' | tr '\n' ' ')"
    "$@"
}

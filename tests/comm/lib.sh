# Sourced by the tests that launch ranks: usage TEST PROGRAM MPIRUN..
set -u
program=$1
shift
mpirun=("$@")
said=$(mktemp)
trap 'rm -f "$said"' EXIT
failures=0
host=$(uname -n)

passing=0 # a failure is not the last word
failed=0

fail() {
    failed=1
    [ $passing -eq 0 ] || return
    echo "FAILED: $*"
    sed 's/^/    | /' "$said"
    failures=$((failures + 1))
}

# launch RANKS ARGUMENTS..: runs to the end, whose time nobody knows on a loaded machine; sets $status and what was said.
launch() {
    timeout -k 1 300 "${mpirun[@]}" -np "$1" "$program" "${@:2}" >"$said" 2>&1
    status=$?
}

# patiently COMMAND..: where ranks wait 2 s for each other. On a machine that stands still for as long they are wrong about
# whom they wait for: then it is tried again, with more time.
patiently() {
    for ISLR_COMM_TIMEOUT in 2 10 40; do
        export ISLR_COMM_TIMEOUT
        failed=0 passing=1
        [ "$ISLR_COMM_TIMEOUT" -lt 40 ] || passing=0
        "$@"
        [ $failed -ne 0 ] || break
        echo "with $ISLR_COMM_TIMEOUT s not as it must: $*"
    done
    passing=0
}

said_line() { grep -qE "$1" "$said"; }

# mpirun names rank $1, ended by signal $2; Open MPI 5 breaks the line.
said_died() { tr -s "\n " " " <"$said" | grep -qE "rank $1 with PID [0-9]+ on node $host exited on signal $2 "; }

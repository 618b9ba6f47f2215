# Sourced by the tests that launch ranks: usage TEST PROGRAM MPIRUN..
set -u
program=$1
shift
mpirun=("$@")
said=$(mktemp)
trap 'rm -f "$said"' EXIT
failures=0
host=$(uname -n)

fail() {
    echo "FAILED: $*"
    sed 's/^/    | /' "$said"
    failures=$((failures + 1))
}

# launch SECONDS RANKS ARGUMENTS..: runs to the end; sets $status and what was said.
launch() {
    timeout -k 1 "$1" "${mpirun[@]}" -np "$2" "$program" "${@:3}" >"$said" 2>&1
    status=$?
}

said_line() { grep -qE "$1" "$said"; }

# mpirun names rank $1, ended by signal $2; Open MPI 5 breaks the line.
said_died() { tr -s "\n " " " <"$said" | grep -qE "rank $1 with PID [0-9]+ on node $host exited on signal $2 "; }

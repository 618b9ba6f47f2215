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

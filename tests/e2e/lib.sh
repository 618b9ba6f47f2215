# Shared by the end-to-end tests: real programs on small synthetic recordings in a private directory.
# Environment: ISLRD, ISLRCTL (programs), MPIRUN (command to launch ranks with, in words).
set -u
read -r -a mpirun <<<"$MPIRUN"
# Tests share their cores with others: a thread that spins there keeps the one that it waits for from running.
export OMP_WAIT_POLICY=passive
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=$(mktemp -d /tmp/islr-e2e-XXXXXX) # short: sockets live in it
started=()                                # process groups to end
# Moments of kills are drawn from it: ISLR_SEED=N repeats a run that failed.
seed=${ISLR_SEED:-$((SRANDOM % 100000))}
RANDOM=$seed

finish() {
    local status=$?
    trap - EXIT INT TERM
    for group in "${started[@]}"; do
        kill -9 -- "-$group" 2>/dev/null
    done
    wait 2>/dev/null
    if [ $status -ne 0 ] && [ $status -ne 77 ]; then
        echo "seed $seed; the last lines of each log:"
        tail -n 15 "$scratch"/*.log 2>/dev/null
    fi
    rm -rf "$scratch"
    exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM

fail() {
    echo "FAILED: $*"
    exit 1
}

skip() {
    echo "skipped: $*"
    exit 77
}

# expect STATUS COMMAND..: runs it with its words in $scratch/last.log.
expect() {
    local want=$1 status
    shift
    "$@" >"$scratch/last.log" 2>&1 </dev/null
    status=$?
    [ $status -eq "$want" ] || fail "'$*' ended with $status, not $want"
}

said() { grep -qE -- "$1" "$scratch/last.log" || fail "not said: $1"; }

# start NAME COMMAND..: in the background, in a process group of its own (a session), with $scratch/NAME.log. Sets $pid.
start() {
    local name=$1
    shift
    setsid "$@" >"$scratch/$name.log" 2>&1 </dev/null &
    pid=$!
    started+=("$pid")
}

# until_true SECONDS WHAT COMMAND..: polls.
until_true() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $deadline ] || fail "waited in vain: $what"
        sleep 0.05
    done
}

# A few signs that a small model learns: 4 signers, 2 folds.
make_recordings() {
    "$ISLRD" synth --out "$scratch/recordings" --signs 4 --participants 4 --clips "${1:-96}" --seed 3 \
        >"$scratch/synth.log" 2>&1 || fail "no recordings"
}

# The smallest job that exercises everything: three models, evaluations, checkpoints, a soup of three.
write_job() {
    cat >"$scratch/job.yaml" <<JOB
kind: train
name: e2e
preset: tiny
data: {path: $scratch/recordings, k: 2, fold: 0}
model: {dense_dim: 16, widths: [32, 32, 48, 32]}
distill: {dense_dim: 16, widths: [32, 32, 32, 32]}
train: {epochs: ${1:-4}, batch: 16, group: 8}
checkpoint: {soup_last: 3, resume_minutes: 0.002}
JOB
}

# Hashes of a finished run's models, by name.
hashes() { (cd "$1/final" && sha256sum student.safetensors teacher.safetensors distilled.safetensors soup.safetensors); }

same_models() {
    [ "$(hashes "$1")" = "$(hashes "$2")" ] || fail "$3: the final models differ"
}

# pause MAX_MS: sleeps a random time.
pause() { sleep "$(printf '0.%03d' $((RANDOM % $1)))"; }

# alive PID: there and no zombie.
alive() { grep -qs '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$1/status"; }

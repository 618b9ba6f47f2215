# Shared by the end-to-end tests: real programs on small synthetic recordings in a private directory.
# Environment: ISLRD, ISLRCTL (programs), MPIRUN (command to launch ranks with, in words).
set -u
read -r -a mpirun <<<"$MPIRUN"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=$(mktemp -d /tmp/islr-e2e-XXXXXX) # short: sockets live in it
started=()                                # process groups to end
# Moments of kills are drawn from it: ISLR_SEED=N repeats a run that failed.
seed=${ISLR_SEED:-$((SRANDOM % 100000))}
RANDOM=$seed

finish() {
    local status=$?
    trap - EXIT INT TERM
    # A child that start() has just forked runs this too if a signal reaches it before it has become its program.
    [ "$BASHPID" = $$ ] || exit $status
    # A child that has not been waited for keeps its number; it may not have made its process group yet.
    for child in $(jobs -p); do
        kill -9 "$child" 2>/dev/null
    done
    # By group, and only what carries this test's directory in its environment: numbers are used again.
    for group in "${started[@]}"; do
        for member in $(pgrep -g "$group"); do
            grep -qsF "$scratch" "/proc/$member/environ" && kill -9 "$member"
        done
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

# start NAME COMMAND..: in the background, in a process group of its own, with $scratch/NAME.log. Sets $pid. Should this
# script be killed, it dies too. The log of who had this name before is kept as NAME-N.log: whoever looks for a line of the
# new one does not find the old one's.
start() {
    local name=$1
    shift
    [ ! -e "$scratch/$name.log" ] || mv "$scratch/$name.log" "$scratch/$name-${#started[@]}.log"
    setsid setpriv --pdeathsig KILL "$@" >"$scratch/$name.log" 2>&1 </dev/null &
    pid=$!
    started+=("$pid")
}

# How many times as long as they take otherwise leases and limits have to be: under sanitizers.
patience=${ISLR_E2E_PATIENCE:-1}
bound() { echo $(($1 * patience)); }
# How long is waited for what takes so many seconds at most on a quiet machine. On a slow or loaded one it takes many times
# as long; only in vain is it waited to the end.
within() { echo $((60 + 4 * $(bound "$1"))); }

# until_true SECONDS WHAT COMMAND..: polls, for as long as is within SECONDS.
until_true() {
    local deadline=$((SECONDS + $(within "$1"))) what=$2
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

# The smallest job that exercises everything: three models, evaluations, checkpoints, a soup of three. Sets $steps.
# ISLR_E2E_SHORT is set where programs are slow (sanitizers): long runs get shorter.
write_job() {
    local epochs=${1:-4}
    [ -z "${ISLR_E2E_SHORT:-}" ] || [ "$epochs" -le 12 ] || epochs=12
    steps=$((epochs * 3))
    cat >"$scratch/job.yaml" <<JOB
kind: train
name: e2e
preset: tiny
data: {path: $scratch/recordings, k: 2, fold: 0}
model: {dense_dim: 16, widths: [32, 32, 48, 32]}
distill: {dense_dim: 16, widths: [32, 32, 32, 32]}
train: {epochs: $epochs, batch: 16, group: 8}
checkpoint: {soup_last: 3, resume_minutes: 0.002}
JOB
}

# Hashes of a finished run's models, by name.
hashes() { (cd "$1/final" && sha256sum student.safetensors teacher.safetensors distilled.safetensors soup.safetensors); }

same_models() {
    [ "$(hashes "$1")" = "$(hashes "$2")" ] || fail "$3: the final models differ"
}

# pause MAX_MS: sleeps a random time.
pause() {
    local ms=$((RANDOM % $1))
    sleep "$((ms / 1000)).$(printf '%03d' $((ms % 1000)))"
}

# alive PID: there and no zombie.
alive() { grep -qs '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$1/status"; }

# ---- a server, its workers and its client ---------------------------------------------------------------------------

export ISLR_SERVER=unix:$scratch/socket

ctl() { "$ISLRCTL" "$@"; }

# json NAME..: the value at that place of the document on stdin (keys and list indices).
json() {
    python3 -c '
import json, sys
value = json.load(sys.stdin)
for name in sys.argv[1:]:
    value = value[int(name) if isinstance(value, list) else name]
print(value)' "$@"
}

workers_up() { [ "$(ctl workers --json | json workers | grep -o "'rank'" | wc -l)" -ge "$1" ]; }

state_of() { ctl show "$1" --json | json state; }

# submit ARGUMENTS..: sets $run.
submit() {
    run=$(ctl submit "$scratch/job.yaml" "$@" 2>"$scratch/submit.log") || fail "submit: exit status $?"
    [[ $run =~ ^[0-9]+$ ]] || fail "submit printed '$run'"
}

# start_server OPTIONS..
start_server() { start server "$ISLRD" serve --dir "$scratch/server" --socket "$scratch/socket" "$@" && server=$pid; }
start_workers() { start workers "${mpirun[@]}" -np 2 "$ISLRD" work --threads 1 && workers=$pid; }

# Every training step's figures are there exactly once, in order.
check_metrics() {
    ctl metrics "$1" --csv -m loss/student >"$scratch/metrics.csv" || fail "metrics $1"
    python3 - "$scratch/metrics.csv" "$2" <<'PYTHON' || fail "the figures of run $1 are not whole"
import csv, sys
with open(sys.argv[1]) as f:
    steps = [int(r["step"]) for r in csv.DictReader(f)]
if steps != list(range(1, int(sys.argv[2]) + 1)):
    sys.exit(f"steps {steps[:5]} .. {steps[-5:]}: {len(steps)} in all, {len(set(steps))} different")
PYTHON
}

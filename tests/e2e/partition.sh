#!/usr/bin/env bash
# The network between the server and a world is cut, in both directions and in one, and healed: the run is given to
# another world, and nothing of the one that was cut off gets in afterwards. Cuts that are shorter than the lease change
# nothing.
. "$(dirname "$0")/lib.sh"
export XDG_CACHE_HOME=$scratch/cache
make_recordings
write_job 40
expect 0 "${mpirun[@]}" -np 1 "$ISLRD" run "$scratch/job.yaml" --threads 1 --out "$scratch/whole"

start server "$ISLRD" serve --dir "$scratch/server" --socket "$scratch/socket" --lease-seconds "$(bound 6)"
until_true 20 "the server" ctl status
start proxy "$here/partition.py" "$scratch/far" "$scratch/socket" && proxy=$pid
until_true 20 "the proxy" test -S "$scratch/far"
work() { start "$1" env ISLR_HOST="$1" "${mpirun[@]}" -np 1 "$ISLRD" work --threads 1 --server "unix:$2"; }
work far "$scratch/far"
until_true 30 "a worker" workers_up 1

attempt() { ctl show "$run" --json | json attempts "$@"; }
at_step() { [ "$(ctl show "$run" --json | json step)" -ge "$1" ]; }
check() {
    expect 0 ctl wait "$run" --timeout "$(within 120)"
    ctl metrics "$run" --csv -m loss/student >"$scratch/metrics.csv" || fail "metrics $run"
    python3 - "$scratch/metrics.csv" "$steps" "$(ctl show "$run" --json | json attempts)" <<'PYTHON' || fail "$1: figures"
import ast, csv, sys
# Each attempt's steps are there once, from where it began; the last one goes to the end.
attempts = {a["number"]: a["resumed_from_step"] for a in ast.literal_eval(sys.argv[3])}
steps = {number: [] for number in attempts}
with open(sys.argv[1]) as f:
    for row in csv.DictReader(f):
        steps[int(row["attempt"])].append(int(row["step"]))
for number, begin in attempts.items():
    if steps[number] != list(range(begin + 1, begin + 1 + len(steps[number]))):
        sys.exit(f"attempt {number}, resumed from {begin}: {steps[number][:5]} .. {steps[number][-5:]}")
if steps[max(steps)][-1] != int(sys.argv[2]):
    sys.exit(f"the last step is {steps[max(steps)][-1]}")
PYTHON
    mkdir -p "$scratch/pulled-$run"
    for model in student teacher distilled soup; do
        expect 0 ctl pull "$run:$model" -o "$scratch/pulled-$run"
        cmp "$scratch/whole/final/$model.safetensors" "$scratch/pulled-$run/$model.safetensors" || fail "$1: $model differs"
    done
}

# Shorter than the lease, in both directions, in one, and again.
submit
until_true 60 "it trains" at_step 3
for cut in USR1 USR2 USR1; do
    kill -$cut "$proxy"
    sleep 0.8
    kill -CONT "$proxy"
    sleep 0.5
done
check "short cuts"
[ "$(attempt 0 outcome)" = succeeded ] || fail "a short cut ended the first attempt: $(attempt 0 reason)"

# Longer: the run is taken over by another world while the first one trains on, and stays there.
for cut in USR1 USR2; do
    submit
    until_true 60 "it trains" at_step 3
    work "near-$cut" "$scratch/socket" && near=$pid
    kill -$cut "$proxy"
    until_true 60 "the world that is cut off is given up" eval '[ "$(attempt 0 outcome)" = lost ]'
    attempt 0 reason | grep -q "rank 0 (host far, pid [0-9]*) is gone: nothing was heard of it" ||
        fail "it is lost for another reason: $(attempt 0 reason)"
    until_true 30 "the run goes on near" eval 'attempt 1 ranks | grep -q near'
    kill -CONT "$proxy"
    check "a long cut ($cut)"
    [ "$(attempt 1 outcome)" = succeeded ] || fail "the second attempt is $(attempt 1 outcome)"
    until_true 60 "both worlds are idle" eval '[ "$(ctl status --json | json idle_workers)" = 2 ]'
    kill -TERM "$near" # the next round begins far again
    until_true 30 "near is gone" eval "! alive $near"
done

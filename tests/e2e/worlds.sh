#!/usr/bin/env bash
# Worlds of different sizes on one server: they cost nothing while they are idle, come and go under a run, and the run
# goes on in the next one, whatever its size, with the same mathematics.
. "$(dirname "$0")/lib.sh"
export XDG_CACHE_HOME=$scratch/cache
make_recordings
write_job
# Worlds come and go meanwhile, so it has to train for some seconds, however fast this machine is: 30 epochs tell.
set_epochs() { sed -i -E "s/^train: \\{(precision: fp32, )?epochs: [0-9]+/train: {precision: fp32, epochs: $1/" "$scratch/job.yaml"; }
set_epochs 30
began=$(date +%s%N)
expect 0 "${mpirun[@]}" -np 2 "$ISLRD" run "$scratch/job.yaml" --threads 1 --out "$scratch/trial"
epochs=$((6 * 1000000000 * 30 / ($(date +%s%N) - began)))
if [ $epochs -gt 30 ]; then
    set_epochs $epochs
    expect 0 "${mpirun[@]}" -np 2 "$ISLRD" run "$scratch/job.yaml" --threads 1 --out "$scratch/whole"
else
    epochs=30
    mv "$scratch/trial" "$scratch/whole"
fi
steps=$((epochs * 3))

start_server --lease-seconds 300
# start_world NAME RANKS: sets $pid.
start_world() {
    start "$1" env ISLR_HOST="$1" "${mpirun[@]}" --mca odls_base_sigkill_timeout "$(bound 2)" -np "$2" "$ISLRD" work --threads 1
}
start_world alpha 2 && alpha=$pid
start_world beta 1 && beta=$pid
until_true 30 "three ranks of two worlds" workers_up 3
for host in alpha beta; do
    ctl workers | grep -q " $host " || fail "$host is not among the workers"
done

# Idle ranks sleep: nanoseconds that all threads of a rank have run.
ran() { cat /proc/"$1"/task/*/schedstat | awk '{ sum += $1 } END { print sum }'; }
idle=$(pgrep -f "$ISLRD work" -P "$alpha,$beta" | tr '\n' ' ')
declare -A before=()
for _ in 1 2 3 4; do # they may have begun just now
    most=0
    for rank in $idle; do before[$rank]=$(ran "$rank"); done
    sleep 2
    for rank in $idle; do
        spent=$(($(ran "$rank") - before[$rank]))
        echo "idle rank $rank: $((spent / 2000)) millionths of a core"
        [ $spent -le $most ] || most=$spent
    done
    [ $most -ge 10000000 ] || break
done
[ $most -lt 10000000 ] || fail "an idle rank has used $((most / 1000000)) ms in 2 s: more than 0.5%"

attempts() { ctl show "$run" --json | json attempts; }
at_step() { [ "$(ctl show "$run" --json | json step)" -ge "$1" ]; }
attempt() { ctl show "$run" --json | json attempts "$@"; }

# The larger world is taken first. It is asked to end by SIGUSR1 to mpirun: the run is saved and goes on elsewhere.
submit
until_true 60 "it trains" at_step 5
[ "$(attempt 0 ranks | grep -o alpha | wc -l)" = 2 ] || fail "the run is not on the two ranks of alpha"
kill -USR1 "$alpha"
until_true 60 "alpha ends" eval "! alive $alpha"
wait "$alpha" || fail "mpirun of alpha ended with $?"
[ "$(attempt 0 outcome)" = stopped ] || fail "the first attempt is $(attempt 0 outcome)"
until_true 60 "it goes on in beta" eval '[ "$(attempt 1 resumed_from_step)" -ge 5 ]'
first=$(attempt 1 resumed_from_step)
[ "$(attempt 1 ranks | grep -o beta | wc -l)" = 1 ] || fail "the run is not on the one rank of beta"

# A third world joins while it trains, which stands still for so long that it does not end meanwhile; beta is terminated,
# with time to save (see islrd work --help).
until_true 60 "it trains in beta" at_step $((first + 5))
rank=$(pgrep -P "$beta" -f "$ISLRD work")
kill -STOP "$rank"
start_world gamma 2 && gamma=$pid
both_there() { [ "$(ctl workers | grep -c " gamma ")" = 2 ]; }
until_true 60 "gamma is there" both_there
kill -CONT "$rank"
kill -TERM "$beta"
until_true 60 "beta ends" eval "! alive $beta"
until_true 60 "it goes on in gamma" eval '[ "$(attempt 2 resumed_from_step)" -gt $first ]'
second=$(attempt 2 resumed_from_step)
expect 0 ctl wait "$run" --timeout "$(within 120)"
[ "$(state_of "$run")" = succeeded ] || fail "run $run is $(state_of "$run")"
[ "$(attempts | grep -o "'number'" | wc -l)" = 3 ] || fail "there are other than three attempts"
check_metrics "$run" "$steps"
python3 - "$scratch/whole/metrics.jsonl" "$scratch/metrics.csv" "$first" "$second" <<'PYTHON' || fail "the losses do not go on"
import csv, json, sys
with open(sys.argv[1]) as f:
    whole = {m["step"]: m["loss/student"] for m in map(json.loads, f) if "loss/student" in m}
with open(sys.argv[2]) as f:
    here = {int(r["step"]): float(r["value"]) for r in csv.DictReader(f)}
first, second = int(sys.argv[3]), int(sys.argv[4])
for step, loss in here.items():
    error = abs(loss - whole[step]) / abs(whole[step])
    # The same bits on as many ranks; from then on rounding differs, and grows with the steps.
    bound = 0 if step <= first else 1e-3 if step <= first + 8 else 0.5
    if error > bound:
        sys.exit(f"step {step} (resumed after {first} and {second}): {loss}, undisturbed {whole[step]}")
PYTHON
kill -TERM "$gamma"
until_true 30 "gamma ends" eval "! alive $gamma"

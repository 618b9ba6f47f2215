#!/usr/bin/env bash
# Threads that compute take no signals on their own stacks, which oneDNN's code has other uses for (core/base/signals.h):
# the signals that end a program reach one thread that does not compute, and a run that is showered with the one that asks
# for call stacks ends with the models of one that is left alone.
. "$(dirname "$0")/lib.sh"
make_recordings
write_job 12
sed -i 's/^train: {/train: {precision: fp32, /' "$scratch/job.yaml"
expect 0 "$ISLRD" run "$scratch/job.yaml" --threads 1 --out "$scratch/whole"

# takers PID: its threads that take SIGINT, SIGUSR1 and SIGTERM (bits 1, 9 and 14 of the mask of those that are held back).
takers() {
    for task in /proc/"$1"/task/*; do
        mask=0x$(sed -n 's/^SigBlk:[[:space:]]*//p' "$task/status")
        [ $((mask & 0x4202)) = $((0x4202)) ] || basename "$task"
    done
}
one_taker() {
    local at
    at=$(takers "$1")
    [ "$(wc -w <<<"$at")" = 1 ] && [ "$at" != "$1" ] || fail "$2: threads '$at' of process $1 take signals"
}
trains() { grep -q '"step": *3[,}]' "$scratch/$1/metrics.jsonl"; }

start run "$ISLRD" run "$scratch/job.yaml" train.epochs=20000 --threads 2 --out "$scratch/run"
until_true 60 "it trains" trains run
one_taker "$pid" "islrd run"
kill -TERM "$pid"
wait "$pid"
[ $? = 130 ] || fail "SIGTERM did not end the run as it must"
grep -q 'a resume point was saved' "$scratch/run.log" || fail "nothing was saved"

# The stack signal has a handler in every thread, and this one comes from elsewhere: it does nothing.
start showered "$ISLRD" run "$scratch/job.yaml" --threads 1 --hang-seconds "$(bound 60)" --out "$scratch/showered"
showers=0
while alive "$pid"; do
    # Its handler is there by then; before, the signal would end the process.
    if [ "$showers" -gt 0 ] || trains showered 2>/dev/null; then
        for _ in {1..20}; do kill -s RTMIN+6 "$pid" 2>/dev/null; done
        showers=$((showers + 20))
    fi
done
wait "$pid" || fail "a run that is showered with signals ended with $?"
[ $showers -gt 100 ] || fail "it was showered with $showers signals only"
same_models "$scratch/whole" "$scratch/showered" "$showers signals"

start_server
start_workers
until_true 30 "two workers" workers_up 2
for rank in $(pgrep -P "$workers" -f "$ISLRD"); do one_taker "$rank" "islrd work"; done

#!/usr/bin/env bash
# Ranks that do not go on, each in another way: stopped, looping, blocked on a file that never comes. Each is named with
# its host, process and place, its run ends on all ranks in bounded time and is tried again, or fails and says why.
. "$(dirname "$0")/lib.sh"
export XDG_CACHE_HOME=$scratch/cache
make_recordings 48
host=$(uname -n)

start_up() {
    start up "$ISLRD" up -n 2 --threads 1 --dir "$scratch/server" --socket "$scratch/socket" \
        --lease-seconds "$(bound 6)" --hang-seconds "$(bound 6)"
    up=$pid
}
ranks() { pgrep -P "$(pgrep -P "$up" | head -n 1)" -f "$ISLRD"; }
at_step() { [ "$(ctl show "$run" --json | json step)" -ge "$1" ]; }
attempt() { ctl show "$run" --json | json attempts "$1" "$2"; }
lost() { [ "$(attempt "$1" outcome)" = lost ]; }
named() { attempt "$1" reason | grep -qE "$2" || fail "attempt $1: '$(attempt "$1" reason)' does not say: $2"; }

start_up
until_true 30 "two workers" workers_up 2

# Stopped: it is silent, the other one waits for it.
write_job
submit train.epochs=2000
until_true 60 "it trains" at_step 3
victim=$(ranks | tail -n 1)
kill -STOP "$victim"
until_true 40 "the stopped rank's run is lost" lost 0
named 0 "rank 1 \(host $host, pid $victim\) is gone: nothing was heard of it"
until_true 40 "the stopped rank ends" eval "! alive $victim"

# In a loop: the next attempt goes on from a resume point.
until_true 60 "it trains again" at_step "$(($(ctl show "$run" --json | json step) + 3))"
until_true 30 "two workers again" workers_up 2
victim=$(ranks | tail -n 1)
"$here/loop.py" "$victim"
status=$?
if [ $status -ne 77 ]; then
    [ $status -eq 0 ] || fail "no loop could be made"
    until_true 40 "the looping rank's run is lost" lost 1
    named 1 "rank 1 \(host $host, pid $victim\) is stuck: it has done nothing for [0-9]+ s \((train|evaluate|save), step [0-9]+\)"
    until_true 40 "the looping rank ends" eval "! alive $victim"
    ctl logs "$run" | grep -q "pid $victim) is stuck; its threads" || fail "its stacks are not in the run's log"
fi
until_true 60 "it trains again" at_step "$(($(ctl show "$run" --json | json step) + 3))"
expect 0 ctl cancel "$run"
until_true 60 "it is cancelled" eval '[ "$(state_of $run)" = cancelled ]'

# Blocked: every attempt, so the run fails and the reason says where - unless a signal reaches a thread only when it calls
# something (ThreadSanitizer).
stuck="is stuck: it has done nothing for [0-9]+ s \(prepare, step 0\), at "
[ -n "${ISLR_E2E_LATE_SIGNALS:-}" ] || stuck+=".*open.* < file_read"
mkdir "$scratch/blocked"
cp "$scratch/recordings/sign_to_prediction_index_map.json" "$scratch/blocked"
mkfifo "$scratch/blocked/train.csv"
submit data.path="$scratch/blocked" retry.max_attempts=1
expect 1 ctl wait "$run" --timeout "$(within 60)"
ctl show "$run" --json | json reason | grep -qE "$stuck" ||
    fail "a blocked rank is not named: $(ctl show "$run" --json | json reason)"
until_true 60 "the workers are back" workers_up 2

# Without a server it is the same.
expect 6 timeout "$(within 60)" "${mpirun[@]}" -np 2 "$ISLRD" run "$scratch/job.yaml" data.path="$scratch/blocked" --threads 1 --hang-seconds "$(bound 3)" --out "$scratch/direct"
said "rank [01] on $host \(pid [0-9]+\) $stuck"
[ -n "${ISLR_E2E_LATE_SIGNALS:-}" ] || said "#[0-9]+ recordings_read "

#!/usr/bin/env bash
# A user's way through server, workers and client, and that it gives the same bits as the run without a server.
. "$(dirname "$0")/lib.sh"
make_recordings
write_job
expect 0 "${mpirun[@]}" -np 2 "$ISLRD" run "$scratch/job.yaml" --threads 1 --out "$scratch/direct"

expect 4 ctl list
start up "$ISLRD" up -n 2 --threads 1 --dir "$scratch/server" --socket "$scratch/socket"
up=$pid
until_true 30 "two workers" workers_up 2

# Nothing is submitted that is wrong, or only looked at.
expect 2 ctl submit "$scratch/job.yaml" train.bach=3
said 'train\.bach.*batch'
expect 0 ctl submit "$scratch/job.yaml" --dry-run
[ "$(ctl list --json | json runs)" = "[]" ] || fail "a refused or dry submission left a run"
expect 3 ctl show 7

expect 0 ctl submit "$scratch/job.yaml" --follow --key once
[ "$(head -n 1 "$scratch/last.log" | tr -d '\n')" = 1 ] || fail "submit does not print the run's number first"
submit --key once
[ "$run" = 1 ] || fail "the same key gave run $run"
submit --name second
expect 0 ctl wait "$run" --timeout "$(within 60)"

# Both are there, ended well, with all their figures, and equal to the run without a server.
[ "$(ctl list --json | json runs 0 name)" = second ] || fail "list does not begin with the newest"
for run in 1 2; do
    [ "$(state_of "$run")" = succeeded ] || fail "run $run: $(state_of "$run")"
    check_metrics "$run" "$steps"
    expect 0 ctl pull "$run:all" -o "$scratch/pulled-$run"
    for model in student teacher distilled soup; do
        cmp "$scratch/direct/final/$model.safetensors" "$(find "$scratch/pulled-$run" -name "$model.safetensors" | grep -v epoch)" ||
            fail "run $run: $model differs from the run without a server"
    done
done
for name in accuracy/student accuracy/teacher accuracy/distilled accuracy/soup; do
    ctl show 1 --json | json final "$name" >/dev/null || fail "show has no $name"
done
[ "$(ctl logs 1 --json | wc -l)" -gt 3 ] || fail "the run said nothing"
expect 0 ctl checkpoints 1 --json
expect 0 ctl pull 1:soup -o "$scratch/pulled-1" # again: nothing to do
clip=$(find "$scratch/recordings/train_landmark_files" -name '*.parquet' | sort | head -n 1)
expect 0 "$ISLRD" predict --model "$(ctl pull 1:soup -o "$scratch/here")" "$clip"

# A run that cannot be: it fails and says why; one that is cancelled stops.
submit data.path="$scratch/nowhere"
expect 1 ctl wait "$run" --timeout "$(within 60)"
ctl show "$run" --json | json reason | grep -q nowhere || fail "a failed run does not say why"
[ "$(ctl show "$run" --json | json attempts | grep -o "'number'" | wc -l)" = 1 ] || fail "missing data was tried again"

# Nor one whose loss is not finite: the same step would give the same again.
submit train.lr=10 train.weight_decay=100
expect 1 ctl wait "$run" --timeout "$(within 60)"
ctl show "$run" --json | json reason | grep -q 'not finite' || fail "a run that diverged does not say so"
[ "$(ctl show "$run" --json | json attempts | grep -o "'number'" | wc -l)" = 1 ] || fail "a run that diverged was tried again"
submit train.epochs=2000
until_true 30 "the long run runs" eval '[ "$(state_of $run)" = running ]'
expect 0 ctl cancel "$run"
until_true 30 "the cancelled run ends" eval '[ "$(state_of $run)" = cancelled ]'

# Ctrl-c ends all of it, and what was there is there again.
kill -INT "$up"
until_true 20 "islrd up ends" eval "! alive $up"
wait "$up"
status=$?
[ $status -eq 0 ] || [ $status -eq 130 ] || fail "islrd up ended with $status"
until_true 10 "no process is left" eval '! pgrep -f "$scratch/socket"'
start_server
until_true 20 "the server is back" ctl status
[ "$(ctl list --json | json runs | grep -o "'run'" | wc -l)" = 5 ] || fail "runs were forgotten"
submit train.epochs=2
[ "$run" = 6 ] || fail "a number was used twice"

# A server that is started without standard descriptors gives them to no file or socket of its own.
start bare sh -c 'exec "$@" <&- >&- 2>&-' bare "$ISLRD" serve --dir "$scratch/bare" --socket "$scratch/bare.socket"
until_true 20 "a server without standard descriptors" env ISLR_SERVER="unix:$scratch/bare.socket" "$ISLRCTL" status
for fd in 0 1 2; do
    [ "$(readlink "/proc/$pid/fd/$fd")" = /dev/null ] || fail "descriptor $fd of the server is one of its files"
done

# Relative names are from the current directory; what the server says of itself is absolute.
cd "$scratch" || exit 1
start near "$ISLRD" up -n 1 --threads 1 --dir near-server --socket near
export ISLR_SERVER=unix:$scratch/near
until_true 20 "a worker of a server on a bare name" workers_up 1
[ -e "$scratch/near-server/islr.db" ] || fail "the server's directory is elsewhere"

#!/usr/bin/env bash
# kill -9 of islrd up, of its mpirun and of one of its ranks at random moments: what it started ends with it or is started
# again, and the run ends with the models of the run that nobody disturbed.
. "$(dirname "$0")/lib.sh"
make_recordings
write_job 40
expect 0 "${mpirun[@]}" -np 2 "$ISLRD" run "$scratch/job.yaml" --threads 1 --out "$scratch/whole"

start_up() { start up "$ISLRD" up -n 2 --threads 1 --dir "$scratch/server" --socket "$scratch/socket" && up=$pid; }
child_of() { pgrep -P "$1" | head -n 1; }
launched_again() { [ -n "$(child_of "$up")" ] && [ "$(child_of "$up")" != "$launcher" ]; }

start_up
until_true 30 "two workers" workers_up 2
submit retry.max_attempts=100
for what in rank mpirun up; do
    pause 900
    launcher=$(child_of "$up")
    read -r -a ranks <<<"$(pgrep -P "$launcher" | tr '\n' ' ')"
    case $what in
    rank) kill -9 "${ranks[0]}" ;;
    mpirun) kill -9 "$launcher" ;;
    up) kill -9 "$up" ;;
    esac
    for process in "$launcher" "${ranks[@]}"; do
        until_true 20 "kill of $what: process $process ends" eval "! alive $process"
    done
    [ $what != up ] || start_up
    until_true 30 "kill of $what: mpirun is started again" launched_again
    until_true 60 "kill of $what: two workers again" workers_up 2
done
expect 0 ctl wait "$run" --timeout "$(within 120)"
[ "$(state_of "$run")" = succeeded ] || fail "run $run is $(state_of "$run")"
expect 0 ctl pull "$run:all" -o "$scratch/pulled"
for model in student teacher distilled soup; do
    cmp "$scratch/whole/final/$model.safetensors" \
        "$(find "$scratch/pulled" -name "$model.safetensors" -not -path '*epoch*')" || fail "$model differs"
done

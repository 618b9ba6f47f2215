#!/usr/bin/env bash
# kill -9 of server, client, ranks and mpirun at random moments of a run on a server: it ends with the models of the run
# that nobody disturbed. While only server and client die the workers train on, and no figure is lost or doubled.
. "$(dirname "$0")/lib.sh"
make_recordings
write_job 40
expect 0 "${mpirun[@]}" -np 2 "$ISLRD" run "$scratch/job.yaml" --threads 1 --out "$scratch/whole"

ended() { case $(state_of "$1") in succeeded | failed | cancelled) return 0 ;; *) return 1 ;; esac; }

check_run() {
    [ "$(state_of "$run")" = succeeded ] || fail "$1: run $run is $(state_of "$run")"
    mkdir -p "$scratch/pulled-$run"
    for model in student teacher distilled soup; do
        expect 0 ctl pull "$run:$model" -o "$scratch/pulled-$run"
        cmp "$scratch/whole/final/$model.safetensors" "$scratch/pulled-$run/$model.safetensors" || fail "$1: $model differs"
    done
}

start_server
start_workers
until_true 30 "two workers" workers_up 2

# Server and client only.
submit
kills=0
for k in 1 2 3 4; do
    start "client-$k" "$ISLRCTL" logs "$run" -f
    pause 600
    ended "$run" && break
    kill -9 "$server"
    wait "$server" 2>/dev/null
    pause 500
    kill -9 "$pid"
    start_server
    until_true 20 "the server is back" ctl status
    kills=$((kills + 1))
done
expect 0 ctl wait "$run" --timeout "$(within 120)"
check_run "after $kills kills of the server"
check_metrics "$run" "$steps"
[ "$(ctl show "$run" --json | json attempts | grep -o "'number'" | wc -l)" -eq 1 ] ||
    fail "the workers did not train on while the server was away"

# Everything: a rank, mpirun, the server, or all at once; and a client that follows from beginning to end.
submit retry.max_attempts=100
# shellcheck disable=SC2016 # expanded by the inner shell
start follower bash -c 'exec "$ISLRCTL" logs "$0" -f --numbers 2>/dev/null' "$run"
follower=$pid
for what in rank mpirun server all rank; do
    pause 900
    ended "$run" && break
    case $what in
    rank) kill -9 "$(pgrep -P "$workers" -f "$ISLRD" | tail -n 1)" 2>/dev/null ;;
    mpirun) kill -9 "$workers" ;;
    server) kill -9 "$server" ;;
    all) kill -9 "$server" "$workers" ;;
    esac
    case $what in server | all)
        wait "$server" 2>/dev/null
        start_server
        ;;
    esac
    case $what in rank | mpirun | all)
        until_true 20 "the world ends after the kill of $what" eval "! alive $workers"
        start_workers
        ;;
    esac
    until_true 60 "the workers are back after the kill of $what" workers_up 2
done
expect 0 ctl wait "$run" --timeout "$(within 120)"
check_run "after kills of everything"
wait "$follower"
status=$?
[ $status -eq 0 ] || fail "logs -f of a run that succeeded ended with $status"
ctl logs "$run" --numbers >"$scratch/logs.log" || fail "logs $run"
cmp "$scratch/follower.log" "$scratch/logs.log" || fail "who followed from the beginning has seen other lines"
echo "run $run: $(ctl show "$run" --json | json attempts | grep -o "'number'" | wc -l) attempts (seed $seed)"

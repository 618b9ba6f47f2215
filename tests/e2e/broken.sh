#!/usr/bin/env bash
# Clips that cannot be read are named in the job's log with the reason, whichever rank found them, when the set is made
# and when it was made before; of very many the first fifty.
. "$(dirname "$0")/lib.sh"
export XDG_CACHE_HOME=$scratch/cache
make_recordings 160
write_job 1
mapfile -t clips < <(find "$scratch/recordings/train_landmark_files" -name '*.parquet' | sort)
damage() { for clip in "$@"; do printf 'PAR1 but no more' >"$clip"; done; }
named() {
    local clip
    for clip in "${clips[0]}" "${clips[-1]}"; do
        grep -qE "$2: train_landmark_files/[0-9]+/${clip##*/}: .+" "$1" || fail "$(basename "$clip") is not named in $1"
    done
    [ "$(grep -c "$2: train_landmark_files/" "$1")" = "$3" ] || fail "$1 does not name $3 clips"
}
run_two() { "${mpirun[@]}" -np 2 "$ISLRD" run "$scratch/job.yaml" --threads 1 --out "$scratch/run" "$@"; }

damage "${clips[0]}" "${clips[80]}" "${clips[-1]}"
for time in first second; do
    expect 0 run_two --replace
    named "$scratch/last.log" "left out" 3
done
expect 2 run_two --replace data.strict=true
said "lacks 3 broken clips"
[ -s "$scratch/run/summary.json" ] || fail "a preparation that failed has removed the run before it"

# Through the server, and with strict: the run fails and says all of them.
start up "$ISLRD" up -n 2 --threads 1 --dir "$scratch/server" --socket "$scratch/socket"
until_true 30 "two workers" workers_up 2
submit
expect 0 ctl wait "$run" --timeout "$(within 60)"
ctl logs "$run" >"$scratch/logs.log" || fail "logs $run"
named "$scratch/logs.log" "left out" 3
rm -r "$scratch/cache"
submit data.strict=true
expect 1 ctl wait "$run" --timeout "$(within 60)"
ctl logs "$run" >"$scratch/logs.log" || fail "logs $run"
named "$scratch/logs.log" "broken" 3

damage "${clips[@]:0:30}" "${clips[@]: -30}"
expect 0 run_two --replace
grep -q "left out: and 11 more" "$scratch/last.log" || fail "the clips beyond the fiftieth are not counted"
[ "$(grep -c "left out: train_landmark_files/" "$scratch/last.log")" = 50 ] || fail "not fifty clips are named"

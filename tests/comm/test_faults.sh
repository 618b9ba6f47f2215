#!/usr/bin/env bash
# Ranks that fail, stay away or disagree: everything ends in bounded time, and what is said names the one at fault.
# usage: test_faults.sh RANK_FAULTS MPIRUN...
. "$(dirname "$0")/lib.sh"

stay_away() {
    launch 3 stay-away "$1"
    [ $status -eq 6 ] || fail "$1: exit status $status, not 6 (timed out)"
    # Whoever says something names the rank that stayed away and no other one.
    said_line "rank [01] after [0-9]+ s: rank [01] on $host waited $ISLR_COMM_TIMEOUT s in .* for rank 2 on $host, which did not (arrive|take this rank.s data)" ||
        fail "$1: the missing rank is not named"
    ! said_line "for ranks? [01]|not broken" || fail "$1: a wrong rank is named, or calls go on"
}
for collective in barrier broadcast broadcast-from-late sum all-gather reduce-scatter gather-parts gather group; do
    patiently stay_away $collective
done

export ISLR_COMM_TIMEOUT=60
launch 3 die kill
[ $status -ne 0 ] && [ $status -ne 124 ] || fail "a killed rank: exit status $status"
said_died 2 9 || fail "a killed rank: mpirun does not name it"

launch 3 die exit
[ $status -eq 3 ] || fail "a rank that exits: exit status $status, not 3"

launch 2 disagree size
[ $status -eq 1 ] || fail "sums of different sizes: exit status $status, not 1"
said_line "a sum: MPI failed between rank 0 on $host and rank 1 on $host: .*[tT]runc" || fail "different sizes: not said"

launch 2 disagree collective
[ $status -eq 1 ] || fail "different collectives: exit status $status, not 1"
said_line "rank 1 after .*rank 1 on $host was sent 0 bytes by rank 0 on $host where it waited for 8" ||
    fail "different collectives: not said"

launch 2 disagree group
[ $status -eq 1 ] || fail "different groups: exit status $status, not 1"
said_line "build group 3 of different ranks" || fail "different groups: not said"

# A killed mpirun takes its ranks along.
"${mpirun[@]}" -np 2 "$program" die never >"$said" 2>&1 &
launcher=$!
for _ in $(seq 1000); do
    said_line summing && break
    sleep 0.1
done
said_line summing || fail "a killed mpirun: the ranks did not start"
ranks=$(pgrep -P $launcher -f "$program")
[ "$(wc -w <<<"$ranks")" -eq 2 ] || fail "a killed mpirun: its ranks were not found"
kill -9 $launcher
wait $launcher 2>/dev/null
left=2
for _ in $(seq 1000); do
    left=0
    for pid in $ranks; do
        grep -qs '^State:[[:space:]]*[^ZX[:space:]]' /proc/$pid/status && left=$((left + 1))
    done
    [ $left -eq 0 ] && break
    sleep 0.1
done
[ $left -eq 0 ] || fail "a killed mpirun: $left ranks live on"

# Without mpirun: what the environment says must be true and usable.
ISLR_COMM_TIMEOUT=soon "$program" stay-away barrier >"$said" 2>&1
[ $? -eq 2 ] && said_line "ISLR_COMM_TIMEOUT is 'soon'" || fail "a timeout that is no number is taken"
SLURM_STEP_NUM_TASKS=4 "$program" stay-away barrier >"$said" 2>&1
[ $? -eq 2 ] && said_line "srun started 4 tasks" || fail "srun without PMIx is taken for a single rank"
OMPI_COMM_WORLD_SIZE=4 timeout 300 "$program" stay-away barrier >"$said" 2>&1
[ $? -eq 1 ] && said_line "the launcher started 4 ranks but MPI sees 1" || fail "a foreign launcher is not noticed"

[ $failures -eq 0 ] && echo "all faults ended as they must"
exit $((failures > 0))

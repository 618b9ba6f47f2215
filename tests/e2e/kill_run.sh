#!/usr/bin/env bash
# kill -9 and SIGTERM at random moments of a run, alone and over ranks, damaged resume points in between: every time it
# goes on, and the final models are those of the run that nobody disturbed.
. "$(dirname "$0")/lib.sh"
make_recordings
write_job 10
began=$(date +%s%N)
expect 0 "$ISLRD" run "$scratch/job.yaml" --out "$scratch/whole"
whole_ms=$((($(date +%s%N) - began) / 1000000))
expect 0 "${mpirun[@]}" -np 2 "$ISLRD" run "$scratch/job.yaml" --out "$scratch/whole-two"

resumed=0
damaged=0
# Whether the run of that log began at a resume point.
count_resumed() { grep -q 'going on after step' "$scratch/$1.log" && resumed=$((resumed + 1)); }

# Kills of a single process, each after a random part of the time that the whole run takes.
for k in 1 2 3 4 5; do
    start "alone-$k" "$ISLRD" run "$scratch/job.yaml" --out "$scratch/alone" --resume
    pause "$whole_ms"
    signal=KILL
    [ $k -ne 3 ] || signal=TERM
    kill -$signal "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    status=$?
    count_resumed "alone-$k"
    [ $signal = KILL ] || [ $status -eq 130 ] || [ $status -eq 0 ] || [ $status -eq 143 ] ||
        fail "SIGTERM: ended with $status"
    # The newest resume point is found cut off, or altered: the one before it serves.
    mapfile -t points < <(find "$scratch/alone/resume" -name '*.islr-resume' -printf '%T@ %p\n' 2>/dev/null |
        sort -rn | cut -d' ' -f2)
    if [ ${#points[@]} -ge 2 ]; then
        damaged=$((damaged + 1))
        if [ $((damaged % 2)) -eq 0 ]; then
            truncate -s -100 "${points[0]}"
        else
            printf 'x' | dd of="${points[0]}" bs=1 seek=5000 conv=notrunc status=none
        fi
    fi
done
# However the moments were drawn, one run goes on from a resume point.
points() { compgen -G "$scratch/early/resume/*.islr-resume" >/dev/null; }
for ((k = 6; resumed == 0 && k < 30; k++)); do
    rm -rf "$scratch/early"
    start "early-$k" "$ISLRD" run "$scratch/job.yaml" --out "$scratch/early"
    while ! points && alive "$pid"; do :; done
    kill -9 "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    start "early-again-$k" "$ISLRD" run "$scratch/job.yaml" --out "$scratch/early" --resume
    wait "$pid" || fail "a run that goes on after an early kill ended with $?"
    count_resumed "early-again-$k"
    same_models "$scratch/whole" "$scratch/early" "a run that was killed early"
done
expect 0 "$ISLRD" run "$scratch/job.yaml" --out "$scratch/alone" --resume
same_models "$scratch/whole" "$scratch/alone" "a killed run"
cmp -s "$scratch/whole/predictions.npy" "$scratch/alone/predictions.npy" || fail "a killed run: other predictions"

# Sets $ranks; that mpirun has ended already will do too.
two_ranks() {
    read -r -a ranks <<<"$(pgrep -P "$pid" -f "$ISLRD" | tr '\n' ' ')"
    [ ${#ranks[@]} -eq 2 ] || ! alive "$pid"
}

# Of two ranks in turn: a rank, mpirun, the other rank, mpirun asked to stop. Every other time they share out the
# optimizer's state, which no resume point nor model shows.
for k in 1 2 3 4; do
    shared=true
    [ $((k % 2)) -eq 1 ] || shared=false
    start "two-$k" "${mpirun[@]}" -np 2 "$ISLRD" run "$scratch/job.yaml" "resources.shard_optimizer=$shared" \
        --out "$scratch/two" --resume
    until_true 30 "two ranks for kill $k" two_ranks
    pause "$whole_ms"
    case $k in
    1 | 3) kill -9 "${ranks[$((k / 2))]}" 2>/dev/null ;;
    2) kill -9 "$pid" 2>/dev/null ;;
    4) kill -TERM "$pid" 2>/dev/null ;;
    esac
    until_true 15 "two ranks after kill $k: mpirun ends" eval "! alive $pid"
    for rank in "${ranks[@]}"; do
        until_true 10 "two ranks after kill $k: rank $rank ends" eval "! alive $rank"
    done
    count_resumed "two-$k"
done
expect 0 "${mpirun[@]}" -np 2 "$ISLRD" run "$scratch/job.yaml" resources.shard_optimizer=true --out "$scratch/two" \
    --resume
same_models "$scratch/whole-two" "$scratch/two" "a killed run over two ranks"
[ $resumed -gt 0 ] || fail "no run ever went on from a resume point"
echo "$resumed of the killed runs had gone on from a resume point, $damaged points were damaged (seed $seed)"

#!/usr/bin/env bash
# islrd run: settings of a job that stand beside its mathematics are kept, or it says that they are not; one run a directory.
. "$(dirname "$0")/lib.sh"
export XDG_CACHE_HOME=$scratch/cache
make_recordings
write_job
soup=$scratch/run/final/soup.safetensors

# limits.minutes: the run is stopped, fails, and can go on from where it was. In the seconds here it is prepared, and trains;
# where they are too few for this machine, there are more.
for command in "" "${mpirun[*]} -np 2"; do
    for seconds in $(bound 4) $(bound 16) $(bound 48); do
        rm -rf "$scratch/late"
        # shellcheck disable=SC2086
        expect 1 $command "$ISLRD" run "$scratch/job.yaml" limits.minutes="$(awk "BEGIN { print $seconds / 60 }")" \
            train.epochs=100000 --out "$scratch/late"
        grep -qE 'its time is up \(limits\.minutes\): stopped after step [1-9]' "$scratch/last.log" && break
    done
    said 'its time is up \(limits\.minutes\): stopped after step [1-9]'
    ls "$scratch"/late/resume/*.islr-resume >"$scratch/last.log" 2>&1 || fail "no resume point was saved"
    rm -r "$scratch/late"
done

# What is wrong with a job whatever its data is said before the data is prepared.
before() {
    local want=$1 text=$2
    shift 2
    rm -rf "$XDG_CACHE_HOME"
    expect "$want" "$@" --out "$scratch/never"
    said "$text"
    [ ! -e "$XDG_CACHE_HOME" ] || fail "the data was prepared first: $*"
}
before 2 'the CPU trains in fp32 or bf16' "$ISLRD" run "$scratch/job.yaml" train.precision=fp16
before 2 '1 group of 16, which 2 ranks cannot share' "${mpirun[@]}" -np 2 "$ISLRD" run "$scratch/job.yaml" train.group=16
before 3 'init\.student: .*nowhere' "$ISLRD" run "$scratch/job.yaml" init.student="$scratch/nowhere"
printf 'none' >"$scratch/file"
expect 2 "$ISLRD" run "$scratch/job.yaml" --out "$scratch/file"
[ ! -e "$XDG_CACHE_HOME" ] || fail "the data was prepared before --out was looked at"

before 2 "init\\.student: '12:soup' is a thing of a server's" "$ISLRD" run "$scratch/job.yaml" init.student=12:soup

# --out: one run at a time.
start first "$ISLRD" run "$scratch/job.yaml" train.epochs=100000 --out "$scratch/taken"
until_true 30 "a first step" test -s "$scratch/taken/metrics.jsonl"
expect 2 "$ISLRD" run "$scratch/job.yaml" --out "$scratch/taken"
said 'another run is working there'
expect 2 "${mpirun[@]}" -np 2 "$ISLRD" run "$scratch/job.yaml" --resume --out "$scratch/taken"
kill -9 "$pid"
wait "$pid"
expect 0 "$ISLRD" run "$scratch/job.yaml" --replace --out "$scratch/taken"
[ ! -e "$scratch/taken/lock" ] || fail "the lock is still there"

# resources: the ranks are those that were started, and it says so where the job asks for others.
expect 0 "$ISLRD" run "$scratch/job.yaml" resources.ranks=2 --out "$scratch/run"
said 'asks for 2 ranks \(resources\), 1 was started'
expect 0 "$ISLRD" run "$scratch/job.yaml" --out "$scratch/free"
! grep -q 'asks for' "$scratch/last.log" || fail "a job that leaves its ranks open is warned of them"

# A checkpoint is matched with its run by the job's hash.
expect 0 "$ISLRD" inspect "$soup" --json
[ "$(json job_sha256 <"$scratch/last.log")" = "$(json job_sha256 <"$scratch/run/summary.json")" ] ||
    fail "a run and its soup do not name the same job"

# All folds: those that are done stay so if what has changed since is not of their mathematics.
folds() { stat -c %i "$scratch"/folds/fold-?/summary.json; }
expect 0 "$ISLRD" run "$scratch/job.yaml" data.fold=all train.epochs=3 --out "$scratch/folds"
finished=$(folds)
expect 0 "$ISLRD" run "$scratch/job.yaml" data.fold=all train.epochs=3 name=again retry.max_attempts=2 --resume \
    --out "$scratch/folds"
[ "$(folds)" = "$finished" ] || fail "folds that were done were trained again"
expect 2 "$ISLRD" run "$scratch/job.yaml" data.fold=all train.epochs=3 train.seed=8 --resume --out "$scratch/folds"
said 'holds a run of another job'
[ "$(folds)" = "$finished" ] || fail "another job's folds were touched"

# A fold that only the file has: soups and evaluations are judged on its clips.
sed '1d' "$scratch/recordings/train.csv" |
    awk -F, 'BEGIN {print "participant_id,sequence_id,fold"} {print $2 "," $3 "," (NR <= 10 ? 5 : NR % 5)}' \
        >"$scratch/folds.csv"
expect 0 "$ISLRD" soup --method greedy --data "$scratch/recordings" --k 6 --fold 5 --fold-file "$scratch/folds.csv" \
    -o "$scratch/greedy.safetensors" "$soup" "$scratch/run/final/distilled.safetensors"
cat >"$scratch/soup.yaml" <<JOB
kind: soup
method: greedy
models: [$soup, $scratch/run/final/distilled.safetensors]
data: {path: $scratch/recordings, k: 6, fold: 5, fold_file: $scratch/folds.csv}
JOB
expect 0 "$ISLRD" run "$scratch/soup.yaml" --out "$scratch/souped"

# Weights to begin with that are of another size.
before 2 'init\.distilled: .*models of different sizes' "$ISLRD" run "$scratch/job.yaml" \
    init.distilled="$scratch/run/final/student.safetensors"

# data.strict: also where a job only judges.
sed "s/kind: soup/kind: evaluate/" "$scratch/soup.yaml" >"$scratch/evaluate.yaml"
clip=$(find "$scratch/recordings/train_landmark_files" -name '*.parquet' | sort | head -n 1)
printf 'PAR1 but no more' >"$clip"
for job in soup evaluate; do
    expect 2 "$ISLRD" run "$scratch/$job.yaml" data.strict=true --out "$scratch/judged"
    said 'broken.*the first: train_landmark_files'
    expect 0 "$ISLRD" run "$scratch/$job.yaml" --out "$scratch/judged"
done

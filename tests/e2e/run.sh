#!/usr/bin/env bash
# islrd run, alone and under mpirun: what it leaves, that it repeats itself bit for bit, and that its models can be used.
. "$(dirname "$0")/lib.sh"
make_recordings
write_job
python=$(command -v python3)

expect 0 "$ISLRD" run "$scratch/job.yaml" --out "$scratch/one"
expect 0 "$ISLRD" run "$scratch/job.yaml" --out "$scratch/again"
same_models "$scratch/one" "$scratch/again" "the same job twice"
expect 0 "$ISLRD" run "$scratch/job.yaml" train.seed=7 --out "$scratch/other"
[ "$(hashes "$scratch/one")" != "$(hashes "$scratch/other")" ] || fail "another seed gave the same models"

for file in job.yaml summary.json metrics.jsonl predictions.npy predictions.csv \
    checkpoints/epoch-0002/distilled.safetensors checkpoints/epoch-0004/student.safetensors; do
    [ -s "$scratch/one/$file" ] || fail "$file is missing"
done
[ ! -e "$scratch/one/resume" ] || fail "resume/ is still there"
"$python" "$here/check_run.py" "$scratch/one" 4 >"$scratch/last.log" 2>&1 || fail "the run's files are not as documented"

# The resolved job gives the same run, and a finished run is not trained again.
expect 0 "$ISLRD" run "$scratch/one/job.yaml" --out "$scratch/resolved"
same_models "$scratch/one" "$scratch/resolved" "the resolved job"

# One rank and two: the same sums up to rounding, and each the same bits again.
expect 0 "${mpirun[@]}" -np 2 "$ISLRD" run "$scratch/job.yaml" --out "$scratch/two"
expect 0 "${mpirun[@]}" -np 2 "$ISLRD" run "$scratch/job.yaml" --out "$scratch/two-again"
same_models "$scratch/two" "$scratch/two-again" "two ranks twice"
expect 0 "$ISLRD" run "$scratch/job.yaml" train.precision=fp32 --out "$scratch/one32"
expect 0 "${mpirun[@]}" -np 2 "$ISLRD" run "$scratch/job.yaml" train.precision=fp32 --out "$scratch/two32"
"$python" "$here/check_run.py" --compare "$scratch/one32" "$scratch/two32" >"$scratch/last.log" 2>&1 ||
    fail "one rank and two ranks train differently"

# The models are files that the other commands take.
soup=$scratch/one/final/soup.safetensors
clip=$(find "$scratch/recordings/train_landmark_files" -name '*.parquet' | sort | head -n 1)
expect 0 "$ISLRD" inspect "$soup" --json
expect 0 "$ISLRD" predict --model "$soup" --top 2 "$clip"
[ "$(wc -l <"$scratch/last.log")" -eq 1 ] || fail "predict said more than one line"
expect 0 "$ISLRD" evaluate --model "$soup" --json "$scratch/recordings"
expect 0 "$ISLRD" soup -o "$scratch/soup.safetensors" "$scratch"/one/checkpoints/epoch-000{2,3,4}/distilled.safetensors
expect 0 "$ISLRD" predict --model "$soup" --npy "$scratch/a.npy" "$scratch/recordings"
expect 0 "$ISLRD" predict --model "$scratch/soup.safetensors" --npy "$scratch/b.npy" "$scratch/recordings"
cmp -s "$scratch/a.npy" "$scratch/b.npy" || fail "the run's soup is not the mean of its checkpoints"

# Bad input ends with the documented code and names what is wrong.
expect 2 "$ISLRD" run "$scratch/job.yaml" train.bach=3 --out "$scratch/bad"
said 'train\.bach.*batch'
expect 3 "$ISLRD" run "$scratch/job.yaml" data.path="$scratch/nowhere" --out "$scratch/bad"
said "$scratch/nowhere"
head -c 1000 "$soup" >"$scratch/cut.safetensors"
expect 7 "$ISLRD" predict --model "$scratch/cut.safetensors" "$clip"
said 'cut\.safetensors'
expect 0 "$ISLRD" prepare --data "$scratch/recordings" --out "$scratch/set.islr" --max-len 25 --k 2
printf '\377\377' | dd of="$scratch/set.islr" bs=1 seek=5000 conv=notrunc status=none
for command in "run $scratch/job.yaml data.path=$scratch/set.islr --out $scratch/bad" \
    "evaluate --model $soup --k 2 $scratch/set.islr" "predict --model $soup $scratch/set.islr"; do
    read -r -a words <<<"$command"
    expect 7 "$ISLRD" "${words[@]}"
    said "$scratch/set.islr: the frames of clip [0-9]+ .* are damaged"
done
expect 2 "${mpirun[@]}" -np 2 "$ISLRD" run "$scratch/job.yaml" train.bach=3 --out "$scratch/bad"
said 'train\.bach.*batch'

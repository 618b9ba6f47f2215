#!/usr/bin/env bash
# Folds that a file gives: as many as it has, all of them in the cross-validation, or as many as the job says.
. "$(dirname "$0")/lib.sh"
"$ISLRD" synth --out "$scratch/recordings" --signs 3 --participants 5 --clips 90 --seed 3 >"$scratch/synth.log" 2>&1 ||
    fail "no recordings"
write_job 1
sed -i 's/ k: 2, fold: 0/ fold: 0/' "$scratch/job.yaml"
python3 - "$scratch/recordings/train.csv" "$scratch/folds5.csv" <<'PYTHON' || fail "no fold file"
import csv, sys
rows = list(csv.DictReader(open(sys.argv[1])))
people = sorted({r["participant_id"] for r in rows})
with open(sys.argv[2], "w") as f:
    print("participant_id,sequence_id,fold", file=f)
    for r in rows:
        print(r["participant_id"], r["sequence_id"], people.index(r["participant_id"]), sep=",", file=f)
PYTHON
run=("$ISLRD" run "$scratch/job.yaml" --threads 1 data.fold_file="$scratch/folds5.csv" --out)

expect 0 "${run[@]}" "$scratch/all" data.fold=all
said 'cross-validated accuracy over 90 clips'
[ "$(json clips <"$scratch/all/summary.json")" = 90 ] && [ -s "$scratch/all/fold-4/summary.json" ] ||
    fail "not all folds are in the cross-validation"
expect 0 "${run[@]}" "$scratch/last" data.fold=4
cmp -s "$scratch/last/predictions.npy" "$scratch/all/fold-4/predictions.npy" || fail "a fold alone and among all differ"
expect 0 "${run[@]}" "$scratch/five" data.fold=4 data.k=5
expect 2 "${run[@]}" "$scratch/bad" data.fold=5
said 'data.fold is 5, but the set has 5 folds'
expect 2 "${run[@]}" "$scratch/bad" data.fold=all data.k=4
said 'folds5.csv, line [0-9]+: fold 4 is outside 0..3 \(4 folds are wanted\)'
expect 2 "${run[@]}" "$scratch/bad" data.fold=all data.k=1
said 'with one fold nothing is left to train on'
soup=$scratch/last/final/soup.safetensors
expect 0 "$ISLRD" evaluate --model "$soup" --fold 4 --fold-file "$scratch/folds5.csv" "$scratch/recordings"
said '^18 clips'

# Folds that were trained on other data are not joined with new ones.
printf 'broken' >"$(find "$scratch/recordings" -name '*.parquet' | sort | tail -n 1)"
rm "$scratch/all/summary.json"
expect 0 "${run[@]}" "$scratch/all" data.fold=all --resume
said 'cross-validated accuracy over 89 clips'
[ "$(cat "$scratch"/all/fold-?/summary.json | grep set_sha256 | sort -u | wc -l)" = 1 ] || fail "folds of two sets were joined"

# Data of too few signers for folds is good for what needs none.
"$ISLRD" synth --out "$scratch/two" --signs 3 --participants 2 --clips 48 --seed 4 >"$scratch/synth.log" 2>&1 ||
    fail "no recordings"
expect 0 "$ISLRD" run "$scratch/job.yaml" data.path="$scratch/two" data.fold=full --out "$scratch/full"
expect 0 "$ISLRD" evaluate --model "$scratch/full/final/soup.safetensors" "$scratch/two"
said '^48 clips'
expect 2 "$ISLRD" evaluate --model "$scratch/full/final/soup.safetensors" --fold 0 "$scratch/two"
expect 2 "$ISLRD" run "$scratch/job.yaml" data.path="$scratch/two" --out "$scratch/bad"
said '4 folds need at least 4 participants'

# A server opens no data.
start_server
until_true 10 "a server" ctl status
expect 2 ctl submit "$scratch/job.yaml" data.fold_file="$scratch/folds5.csv" data.fold=all
said 'give data.k, the number of folds in .*folds5.csv'
expect 2 ctl submit "$scratch/job.yaml" data.fold_file="$scratch/folds5.csv" --sweep data.fold=all,0
said 'give data.k, the number of folds in .*folds5.csv'
expect 0 ctl submit "$scratch/job.yaml" data.fold_file="$scratch/folds5.csv" data.fold=all data.k=5
[ "$(ctl show @last --json | tr , '\n' | grep -c 'fold-[0-9]')" -ge 5 ] || fail "the group has not five folds"

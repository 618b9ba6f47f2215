#!/usr/bin/env bash
# islrd synth, prepare and inspect as a user meets them: what they print, exit codes, signals, ranks.
. "$(dirname "$0")/../e2e/lib.sh"

data=$scratch/data set=$scratch/set.islr
nothing_left() { # beside what is named: nothing that begins like $set
    local found
    found=$(find "$scratch" -maxdepth 1 -name 'set.islr*' ! -name "${1:-}" -printf '%f ')
    [ -z "$found" ] || fail "left over: $found"
}

# ---- synth
expect 2 "$ISLRD" synth --out "$data" --signs 5
said '--participants N is needed'
expect 2 "$ISLRD" synth --out "$data" --signs 5 --participants 0 --clips 10
expect 0 "$ISLRD" synth --out "$data" --signs 5 --participants 4 --clips 60 --seed 3
said '60 clips of 5 signs by 4 participants'
expect 2 "$ISLRD" synth --out "$data" --signs 5 --participants 4 --clips 60
said 'exists already.*--replace'
start synth "$ISLRD" synth --out "$scratch/many" --signs 5 --participants 4 --clips 1000000
until_true 20 "clips" test -d "$scratch/many/train_landmark_files/2001"
kill -INT "$pid"
wait "$pid"
status=$?
[ $status -eq 130 ] || fail "an interrupted synth ended with $status"
[ ! -e "$scratch/many/train.csv" ] || fail "an interrupted synth left a train.csv"

# ---- prepare
expect 2 "$ISLRD" prepare --data "$data" --out "$set"
said 'max-len N is needed'
expect 3 "$ISLRD" prepare --data "$scratch/nowhere" --out "$set" --max-len 25
expect 2 "$ISLRD" prepare --data "$data" --out "$set" --max-len 25 --k 9
said '9 folds need at least 9 participants'
expect 0 "$ISLRD" prepare --data "$data" --out "$set" --max-len 25 --json
python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); assert d["clips"] == 60 and d["folds"] == 4, d' \
    <(sed -n '/^{/,/^}/p' "$scratch/last.log") || fail "prepare --json"
nothing_left set.islr
cp "$set" "$scratch/one.islr"
for ranks in 2 3; do
    expect 0 "${mpirun[@]}" -np $ranks "$ISLRD" prepare --data "$data" --out "$set" --max-len 25
    cmp "$set" "$scratch/one.islr" || fail "$ranks ranks prepare another set than one"
done
nothing_left set.islr

# A terminal gets a bar, a file does not.
script -qec "'$ISLRD' prepare --data '$data' --out '$set' --max-len 25" /dev/null >"$scratch/last.log" 2>&1 ||
    fail "prepare on a terminal"
said 'prepare \[=*>? *\] [0-9]+/60 clips, .* clips/s, .* left'
expect 0 "$ISLRD" prepare --data "$data" --out "$set" --max-len 25
grep -q $'\r' "$scratch/last.log" && fail "a bar was drawn into a file"

# ---- broken clips
broken=$(sed -n 's/^\([^,]*\),.*/\1/p' "$data/train.csv" | sed -n 7p)
echo broken >"$data/$broken"
expect 0 "$ISLRD" prepare --data "$data" --out "$set" --max-len 25
said "broken clip $broken: not a sound parquet file"
said '59 clips,.* 1 clips skipped'
rm "$set"
expect 2 "$ISLRD" prepare --data "$data" --out "$set" --max-len 25 --strict
said "1 of 60 clips are broken, the first: $broken"
expect 2 "${mpirun[@]}" -np 2 "$ISLRD" prepare --data "$data" --out "$set" --max-len 25 --strict
nothing_left

# ---- signals: whenever they come, no set is left, or a whole one, and no litter after the next preparation
for _ in 1 2 3 4; do
    start prepare "$ISLRD" prepare --data "$data" --out "$set" --max-len 25 --threads 1
    sleep 0.0$((RANDOM % 10))
    kill -TERM "$pid"
    wait "$pid"
    status=$?
    [ $status -eq 130 ] || [ $status -eq 0 ] || [ $status -eq 143 ] || fail "SIGTERM ended prepare with $status"
    [ $status -eq 0 ] || nothing_left set.islr
done
for _ in 1 2 3 4; do
    start prepare "${mpirun[@]}" -np 2 "$ISLRD" prepare --data "$data" --out "$set" --max-len 25
    sleep 0.$((20 + RANDOM % 60))
    kill -9 -- "-$pid"
    wait "$pid"
    [ ! -e "$set" ] || expect 0 "$ISLRD" inspect "$set"
done
# Killed ranks may hold the lock for a moment longer.
until_true 20 "a preparation after killed ones" "$ISLRD" prepare --data "$data" --out "$set" --max-len 25
nothing_left set.islr

# ---- inspect
expect 0 "$ISLRD" inspect "$set"
said 'clips +59 .*1 skipped'
said 'folds +4, seed 42'
said "skipped $broken: "
said ' fold 3$'
expect 0 "$ISLRD" inspect "$set" --json
python3 - "$scratch/last.log" <<'END' || fail "inspect --json"
import json, sys
d = json.load(open(sys.argv[1]))
assert d["kind"] == "set" and d["clips"] == 59 and len(d["skipped"]) == 1, d
assert [sum(s["folds"][f] for s in d["signs"]) for f in range(4)] == d["folds"]["clips"]
assert sum(p["clips"] for p in d["participants"]) == 59 and not any(p["several_folds"] for p in d["participants"])
END
clip=$(sed -n '3s/^[^,]*,\([0-9]*\),\([0-9]*\),.*/\1\/\2/p' "$data/train.csv")
expect 0 "$ISLRD" inspect "$set" --clip "$clip" --npy "$scratch/clip.npy"
said "train_landmark_files/$clip.parquet"
python3 - "$scratch/clip.npy" <<'END' || fail "inspect --npy"
import struct, sys
b = open(sys.argv[1], "rb").read()
assert b[:6] == b"\x93NUMPY", b[:6]
n = struct.unpack("<H", b[8:10])[0]
header = eval(b[10:10 + n])
assert header["descr"] == "<f4" and header["shape"][1:] == (100, 3) and 1 <= header["shape"][0] <= 25, header
END
expect 3 "$ISLRD" inspect "$set" --clip 1/1
expect 2 "$ISLRD" inspect "$set" --clip 1
expect 2 "$ISLRD" inspect "$set" --npy "$scratch/clip.npy"
expect 3 "$ISLRD" inspect "$scratch/nowhere.islr"
expect 7 "$ISLRD" inspect "$data/train.csv"
printf x | dd of="$set" bs=1 seek=9000 conv=notrunc status=none
expect 7 "$ISLRD" inspect "$set"
said 'the frames of clip [0-9]+ .* are damaged'
truncate -s -1 "$set"
expect 7 "$ISLRD" inspect "$set"
said 'truncated'

#!/usr/bin/env bash
# From a fresh machine to a trained model: installs what is missing, builds, starts a server with two workers, trains on
# recordings, fetches the finished model and recognises three clips with it. Stops everything it started.
#
# usage: deploy/quickstart.sh [--data DIR] [--preset NAME]
#   --data DIR      recordings in the competition's layout (train.csv, sign map, parquet files) instead of synthetic ones
#   --preset NAME   tiny (default: a minute on two CPU cores), l25, l80, l25-code or l80-code
#
# Debian 12 or Ubuntu 24.04, as root or with sudo for the installation. The model stays in build/quickstart/.
set -euo pipefail

data=
preset=tiny
usage() { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p;}' "$0"; }
while [ $# -gt 0 ]; do
    case $1 in
    --data | --preset)
        [ $# -ge 2 ] || { echo "quickstart: $1 needs a value" >&2; exit 2; }
        [ "$1" = --data ] && data=$2 || preset=$2
        shift
        ;;
    -h | --help)
        usage
        exit 0
        ;;
    *)
        echo "quickstart: unknown argument $1" >&2
        usage >&2
        exit 2
        ;;
    esac
    shift
done
if [ -n "$data" ]; then
    [ -f "$data/train.csv" ] || { echo "quickstart: $data holds no train.csv" >&2; exit 3; }
    data=$(cd "$data" && pwd)
fi
cd "$(dirname "$0")/.."

scratch=
server=
stop_all() {
    status=$?
    trap - EXIT INT TERM
    if [ -n "$server" ] && kill "$server" 2>/dev/null; then
        for _ in $(seq 150); do
            kill -0 "$server" 2>/dev/null || break
            sleep 0.1
        done
        kill -9 "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    if [ $status -ne 0 ] && [ -n "$scratch" ] && [ -s "$scratch/server.log" ]; then
        echo "-- the server's last words:" >&2
        tail -n 20 "$scratch/server.log" >&2
    fi
    [ -z "$scratch" ] || rm -rf "$scratch"
    exit $status
}
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

section() { printf '\n== %s\n' "$*"; }

section "Install what is missing"
deploy/deps.sh
echo "all there ($SECONDS s)"

section "Build"
# Private, and short enough for a socket's path whatever TMPDIR says.
scratch=$(mktemp -d /tmp/islr-XXXXXX)
export PATH=/usr/bin:$PATH # the system's meson, whatever else is first there
if [ ! -f build/build.ninja ]; then
    meson setup build -Dtests=false >"$scratch/meson.log" || { tail -n 20 "$scratch/meson.log" >&2; exit 1; }
fi
quiet=--quiet
[ ! -t 1 ] || quiet=
ninja -C build $quiet daemon/islrd client/islrctl
islrd=$PWD/build/daemon/islrd
islrctl=$PWD/build/client/islrctl
echo "build/daemon/islrd and build/client/islrctl ($SECONDS s)"

export ISLR_SERVER=unix:$scratch/socket

section "Start a server and two workers"
"$islrd" up -n 2 --dir "$scratch/server" --socket "$scratch/socket" >"$scratch/server.log" 2>&1 </dev/null &
server=$!
for attempt in $(seq 300); do
    ready=$("$islrctl" workers --json 2>/dev/null |
        python3 -c 'import json, sys; print(len(json.load(sys.stdin)["workers"]))' 2>/dev/null) || ready=0
    [ "$ready" = 2 ] && break
    kill -0 $server 2>/dev/null || { echo "quickstart: the server ended" >&2; exit 1; }
    [ "$attempt" -lt 300 ] || { echo "quickstart: the workers did not come up" >&2; exit 6; }
    sleep 0.1
done
"$islrctl" workers

if [ -z "$data" ]; then
    section "Make recordings"
    data=$scratch/recordings
    "$islrd" synth --out "$data" --signs 12 --participants 8 --clips 960
fi

section "Train: preset $preset on $data"
cat >"$scratch/job.yaml" <<JOB
kind: train
name: quickstart
preset: $preset
data: {path: "$data", fold: 0}
JOB
"$islrctl" submit "$scratch/job.yaml" --follow | tee "$scratch/followed"
run=$(head -n 1 "$scratch/followed")

section "Accuracy on signers that the models have not seen"
"$islrctl" show "$run" --json | python3 -c '
import json, sys
final = json.load(sys.stdin)["final"]
for name in ("student", "teacher", "distilled", "soup"):
    print("%-10s %5.1f %%" % (name, 100 * final["accuracy/" + name]))'

section "Fetch the model"
mkdir -p build/quickstart
model=$("$islrctl" pull "$run:soup" -o build/quickstart)
ls -l "$model"

section "Recognise three clips of those signers"
held_out=$("$islrctl" pull "$run:predictions.csv" -o "$scratch")
python3 - "$held_out" "$data" >"$scratch/clips" <<'PYTHON'
# Three clips, spread over the held-out ones: path and true sign.
import csv, os, sys
with open(sys.argv[1]) as f:
    held_out = [(r["participant_id"], r["sequence_id"]) for r in csv.DictReader(f)]
with open(os.path.join(sys.argv[2], "train.csv")) as f:
    clips = {(r["participant_id"], r["sequence_id"]): r for r in csv.DictReader(f)}
for i in (1, 3, 5):
    clip = clips[held_out[i * len(held_out) // 6]]
    print(os.path.join(sys.argv[2], clip["path"]), clip["sign"], sep="\t")
PYTHON
while IFS=$'\t' read -r clip sign; do
    echo "signed: $sign"
    "$islrd" predict --model "$model" --top 3 "$clip" | sed 's/^.*: /  recognised: /'
done <"$scratch/clips"

section "Done in $((SECONDS / 60)) min $((SECONDS % 60)) s"
echo "the model: $model"

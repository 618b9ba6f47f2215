#!/usr/bin/env bash
# The server's memory over many submits, follows and pulls, half of them over TLS: a table, and exit status 1 if it grows.
#
# usage: tests/reliability/memory.sh [BUILD [ROUNDS]]   100,000 rounds by default
set -u
build=$(cd "${1:-build}" && pwd) || exit 1
rounds=${2:-100000}
scratch=$(mktemp -d /tmp/islr-memory-XXXXXX)
trap 'kill -INT $up 2>/dev/null; wait $up 2>/dev/null; rm -rf "$scratch"' EXIT
ninja -C "$build" daemon/islrd client/islrctl tests/serve/serve_soak >/dev/null || exit 1
export ISLR_SERVER=unix:$scratch/socket

"$build/daemon/islrd" synth --out "$scratch/recordings" --signs 4 --participants 4 --clips 96 --seed 3 >/dev/null 2>&1
"$build/daemon/islrd" up -n 1 --threads 1 --dir "$scratch/server" --socket "$scratch/socket" --listen 127.0.0.1:0 \
    >"$scratch/up.log" 2>&1 &
up=$!
until "$build/client/islrctl" status >/dev/null 2>&1; do sleep 0.1; done
cat >"$scratch/job.yaml" <<JOB
kind: train
name: memory
preset: tiny
data: {path: $scratch/recordings, k: 2, fold: 0}
model: {dense_dim: 16, widths: [32, 32, 48, 32]}
distill: {dense_dim: 16, widths: [32, 32, 32, 32]}
train: {epochs: 2, batch: 16, group: 8}
checkpoint: {soup_last: 1}
JOB
run=$("$build/client/islrctl" submit "$scratch/job.yaml") && "$build/client/islrctl" wait "$run" || exit 1

status=0
echo "unix socket"
"$build/tests/serve/serve_soak" "$ISLR_SERVER" $up $((rounds / 2)) 8 || status=1
at=$(sed -n 's/.*listens on \(tls:[^;]*\);.*/\1/p' "$scratch/up.log")
ISLR_TOKEN=$("$build/client/islrctl" token create --user soak --role submitter 2>/dev/null)
export ISLR_TOKEN ISLR_CA=$scratch/server/tls.pem
echo "TLS"
"$build/tests/serve/serve_soak" "$at" $up $((rounds / 2)) 8 || status=1
exit $status

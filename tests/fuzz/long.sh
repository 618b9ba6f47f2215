#!/usr/bin/env bash
# Runs every fuzz target for long, one after the other: 10 million inputs or 20 minutes each, whichever comes first.
# Corpora grow in BUILD/fuzz-corpus and are gone on with the next time. Ends with 1 at the first finding, whose input is
# kept there; a fault that is mended leaves it as a seed in this directory.
#
# usage: tests/fuzz/long.sh [BUILD [TARGET..]]   ISLR_FUZZ_RUNS, ISLR_FUZZ_SECONDS: other limits
set -u
source=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:-$source/../../build}" && pwd) || exit 1
shift
runs=${ISLR_FUZZ_RUNS:-10000000}
seconds=${ISLR_FUZZ_SECONDS:-1200}
all=$(sed -n "s/^  '\([a-z]*\)': \['seed.*/\1/p" "$source/meson.build")
for target in ${@:-$all}; do
    ninja -C "$build" "tests/fuzz/fuzz_$target" >/dev/null || exit 1
    corpus=$build/fuzz-corpus/$target
    mkdir -p "$corpus"
    for seed in $(sed -n "s/^  '$target': \[\('seed.*\)\],/\1/p" "$source/meson.build" | tr -d "',"); do
        cp "$source/$seed" "$corpus/"
    done
    began=$SECONDS
    if ! "$build/tests/fuzz/fuzz_$target" "$corpus" -runs="$runs" -max_total_time="$seconds" -max_len=4096 \
        -artifact_prefix="$corpus-" -print_final_stats=1 >"$corpus.log" 2>&1; then
        echo "$target: a finding"
        tail -n 40 "$corpus.log"
        exit 1
    fi
    done=$(sed -n 's/^stat::number_of_executed_units: *//p' "$corpus.log")
    echo "$target: $done inputs in $((SECONDS - began)) s, none found wrong"
done

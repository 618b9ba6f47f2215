#!/usr/bin/env bash
# Builds islr with ThreadSanitizer and runs what has threads of its own: the server, the workers, the wire, the store, the
# client, collectives, and the end-to-end tests. Takes half an hour on two free cores. A race ends the program that has it
# (exit status 66); its report is build-tsan/tsan-report.PID.
#
# usage: tests/tsan.sh [NAME..]   only these tests, by the names or suites of meson
set -u
cd "$(dirname "$0")/.." || exit 1
export PATH=/usr/bin:$PATH OMP_WAIT_POLICY=passive
directory=build-tsan again=()
[ ! -f $directory/build.ninja ] || again=(--reconfigure)
meson setup "${again[@]}" $directory -Dbuildtype=debugoptimized -Db_sanitize=thread -Db_lundef=false -Dtests=true \
    -Dcuda=disabled -Dfuzz=disabled >$directory.log 2>&1 && ninja -C $directory >>$directory.log 2>&1 ||
    { tail -n 30 $directory.log; exit 1; }
rm -f $directory.log $directory/tsan-report.*
chosen=(--suite serve --suite work --suite rpc --suite store --suite client --suite comm --suite e2e --no-suite cudahost)
[ $# -eq 0 ] || chosen=("$@")
meson test -C $directory --no-rebuild --timeout-multiplier 4 --print-errorlogs "${chosen[@]}" </dev/null
status=$?
for report in $directory/tsan-report.*; do
    [ ! -e "$report" ] || { sed -n '/^WARNING/,/^SUMMARY/p' "$report"; status=1; }
done
exit $status

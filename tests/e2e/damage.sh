#!/usr/bin/env bash
# What a user sees of a server's state that is backed up, lost, damaged or on a bad disk: the commands and their codes.
. "$(dirname "$0")/lib.sh"
make_recordings
write_job
directory=$scratch/server

# A finished run to lose things of.
start_server
start_workers
until_true 30 "two workers" workers_up 2
submit
expect 0 ctl wait "$run" --timeout "$(within 120)"
expect 0 ctl pull "$run:soup" -o "$scratch/whole"

# A token that is revoked when the backup has been made.
expect 0 ctl token create --user ann --role submitter

# Backup and check beside the running server; no repair.
expect 0 "$ISLRD" backup --dir "$directory" --out "$scratch/backup.tar"
said 'verified'
expect 0 "$ISLRD" backup --verify "$scratch/backup.tar"
expect 0 "$ISLRD" fsck --dir "$directory"
said 'beside a running server: no damage'
expect 0 ctl token revoke 1
expect 1 "$ISLRD" fsck --dir "$directory" --repair
said 'stop it before repairing'
expect 3 "$ISLRD" backup --dir "$scratch/nowhere" --out "$scratch/none.tar"
expect 3 "$ISLRD" fsck --dir "$scratch/nowhere"
expect 2 "$ISLRD" backup --dir "$directory"

# A backup that is killed leaves none, nor harms the one that is there.
for _ in 1 2 3 4 5 6; do
    start kill "$ISLRD" backup --dir "$directory" --out "$scratch/killed.tar"
    pause 60
    kill -9 "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    [ ! -e "$scratch/killed.tar" ] || expect 0 "$ISLRD" backup --verify "$scratch/killed.tar"
    rm -f "$scratch"/killed.tar*
done
head -c 20000 "$scratch/backup.tar" >"$scratch/cut.tar"
expect 7 "$ISLRD" backup --verify "$scratch/cut.tar"

# The soup's file is removed behind the server's back, the student's is altered: a pull of either says so with code 7.
file_of() { # WHAT: the artifact's path
    local hash
    hash=$(ctl checkpoints "$run" --json | python3 -c '
import json, sys
c = [c for c in json.load(sys.stdin)["checkpoints"] if c["what"] == sys.argv[1] and c["epoch"] == 0]
print(c[-1]["sha256"])' "$1")
    echo "$directory/artifacts/${hash:0:2}/$hash"
}
soup=$(file_of soup) student=$(file_of student)
rm -f "$soup"
chmod u+w "$student"
printf '\377' | dd of="$student" bs=1 seek=3000 conv=notrunc status=none
expect 7 ctl pull "$run:soup" -o "$scratch/lost"
said 'missing|lost'
expect 7 ctl pull "$run:student" -o "$scratch/lost"
said 'damaged on the server'
until_true 10 "the server marks what a pull has found damaged" eval 'ctl checkpoints "$run" | grep -q "student.* lost"'
[ -z "$(find "$scratch/lost" -name '*.safetensors' 2>/dev/null)" ] || fail "a damaged file was given out under its name"
teacher=$(file_of teacher)
chmod u+w "$teacher"
printf '\377' | dd of="$teacher" bs=1 seek=3000 conv=notrunc status=none
expect 7 "$ISLRD" fsck --dir "$directory"
said 'damage: the artifact .*teacher of run 1.* is damaged'

kill -TERM "$server"
wait "$server"
kill -TERM "$workers"
wait "$workers"
expect 7 "$ISLRD" fsck --dir "$directory" # what the server marked as lost is known; the other is found
expect 0 "$ISLRD" fsck --dir "$directory" --repair
said 'repaired: the artifact .*marked as lost'
expect 0 "$ISLRD" fsck --dir "$directory"
[ -n "$(ls "$directory/quarantine")" ] || fail "the altered file was not kept"
start_server
until_true 10 "the server" ctl status
expect 7 ctl pull "$run:student" -o "$scratch/lost"
said 'lost'
expect 7 ctl pull "$run:teacher" -o "$scratch/lost"
expect 0 ctl pull "$run:distilled" -o "$scratch/lost" # the others are there
ctl checkpoints "$run" >"$scratch/list.txt"
grep -q 'student.* lost' "$scratch/list.txt" || fail "the list of checkpoints does not show what is lost"
kill -TERM "$server"
wait "$server"

# Restored from the backup: everything is there again.
rm -rf "$directory"
mkdir "$directory"
expect 0 tar -xf "$scratch/backup.tar" -C "$directory"
expect 0 "$ISLRD" fsck --dir "$directory"
said 'no damage'
start_server
until_true 10 "the server" ctl status
expect 0 ctl token list # it is valid again, and the server says so
said 'ann'
expect 0 cat "$scratch/server.log"
said 'the tokens of 20.* are valid \(1\), those too that were revoked since'
expect 0 ctl pull "$run:soup" -o "$scratch/restored"
cmp "$scratch/whole/soup.safetensors" "$scratch/restored/soup.safetensors" || fail "the restored soup differs"
check_metrics "$run" "$steps"
submit --hold
[ "$run" = 2 ] || fail "the restored server went on with run $run"
kill -TERM "$server"
wait "$server"

# A log that cannot be written is no reason to stop.
setsid setpriv --pdeathsig KILL "$ISLRD" serve --dir "$directory" --socket "$scratch/socket" -v \
    >/dev/full 2>/dev/full </dev/null &
server=$!
started+=("$server")
until_true 10 "the server" ctl status
expect 0 ctl release 2
kill -TERM "$server"
wait "$server" || fail "a server whose log is on a full disk ended with $?"

# The database's first page is gone: no start, with the way out.
cp -r "$directory" "$scratch/copy"
dd if=/dev/zero of="$scratch/copy/islr.db" bs=4096 count=1 conv=notrunc status=none
rm -f "$scratch/copy/islr.db-wal"
expect 7 "$ISLRD" serve --dir "$scratch/copy" --socket "$scratch/copy-socket"
said 'damaged.*islrd fsck.*backup'
expect 7 "$ISLRD" fsck --dir "$scratch/copy"
expect 7 "$ISLRD" backup --dir "$scratch/copy" --out "$scratch/none.tar"
[ ! -e "$scratch/none.tar" ] || fail "a damaged database was backed up"

# A disk that is read-only: nothing starts on it, and it is said why; what is on it can be looked at.
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=64m none "$scratch/copy" 2>/dev/null; then
    cp -r "$directory/." "$scratch/copy"
    mount -o remount,ro "$scratch/copy"
    expect 1 "$ISLRD" serve --dir "$scratch/copy" --socket "$scratch/copy-socket"
    said 'Read-only file system'
    expect 1 "$ISLRD" fsck --dir "$scratch/copy" --repair
    said 'Read-only file system'
    umount "$scratch/copy"
fi

#!/usr/bin/env bash
# A server on the network: what outsiders get, logins, roles, workers with tokens, a certificate that changes.
. "$(dirname "$0")/lib.sh"
make_recordings
write_job
unset ISLR_SERVER ISLR_TOKEN ISLR_FINGERPRINT ISLR_CA
export HOME=$scratch/home XDG_CONFIG_HOME=
mkdir "$HOME"

# Without --listen there is the unix socket, its owner's alone, and nothing else.
start_server
until_true 20 "the server is up" ctl status --server "unix:$scratch/socket"
[ "$(stat -c %a "$scratch/socket")" = 600 ] || fail "the socket is open to others"
! grep -q ' 0A ' <(awk -v inodes="$(find "/proc/$server/fd" -lname 'socket:*' -printf '%l\n' | tr -dc '0-9\n' | tr '\n' ' ')" \
    '{ if (index(" " inodes, " " $10 " ")) print " " $4 " " }' /proc/net/tcp /proc/net/tcp6) || fail "it listens on the network"
kill -TERM "$server"
wait "$server"

listen() {
    start server "$ISLRD" serve --dir "$scratch/server" --socket "$scratch/socket" --listen "127.0.0.1:${1:-0}"
    server=$pid
    until_true 20 "the server is up" grep -q 'serves' "$scratch/server.log"
    at=$(sed -n 's/.*listens on \(tls:[^;]*\);.*/\1/p' "$scratch/server.log")
    fingerprint=$(grep -o 'SHA256:[0-9a-f]*' "$scratch/server.log" | tail -n 1)
}
local_admin() { ctl "$@" --server "unix:$scratch/socket"; }
token() { local_admin token create --user "$1" --role "$2" "${@:3}" 2>>"$scratch/token.log" || fail "no token for $1"; }

listen
host=${at#tls:}
[ "$(stat -c %a "$scratch/server/tls.pem")" = 600 ] || fail "the key is open to others"

# Outsiders: the certificate is what the log says, TLS 1.2 is refused, HTTP gets nothing.
if command -v openssl >/dev/null; then
    seen=$(openssl x509 -in "$scratch/server/tls.pem" -noout -fingerprint -sha256 | tr -d : | tr 'A-F' 'a-f')
    [ "${seen#*=}" = "${fingerprint#SHA256:}" ] || fail "openssl sees another certificate: $seen"
    openssl s_client -connect "$host" -tls1_3 </dev/null >"$scratch/tls13.log" 2>&1
    grep -q 'New, TLSv1.3' "$scratch/tls13.log" || fail "TLS 1.3 is refused"
    openssl s_client -connect "$host" -tls1_2 </dev/null >"$scratch/tls12.log" 2>&1 && fail "TLS 1.2 is accepted"
    grep -q 'alert protocol version' "$scratch/tls12.log" || fail "TLS 1.2 is not refused as such"
fi
python3 - "$host" <<'PYTHON' || fail "an outsider got something"
import socket, ssl, sys
host, port = sys.argv[1].split(":")
plain = socket.create_connection((host, int(port)), timeout=100)
plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
assert b"HTTP" not in plain.recv(4096)
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
with context.wrap_socket(socket.create_connection((host, int(port)), timeout=100)) as s:
    assert s.version() == "TLSv1.3", s.version()
    s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = s.recv(65536)
    assert b"HTTP" not in answer and b"allowed" in answer, answer
PYTHON

# Logins. Nobody is there to ask; then a script says what to expect.
token ann submitter --expires 1d >"$scratch/ann.token"
expect 5 ctl login "$at" --token-file "$scratch/ann.token"
said "$fingerprint"
expect 5 ctl login "$at" --token-file "$scratch/ann.token" --fingerprint "$fingerprint"
said 'chmod 600'
chmod 600 "$scratch/ann.token"
expect 5 ctl login "$at" --token-file "$scratch/ann.token" --fingerprint "SHA256:$(printf '%064d' 7)"
said 'NOT THE ONE THAT IS KNOWN'
[ ! -e "$HOME/.config/islr/client.yaml" ] || fail "a failed login was kept"
expect 0 ctl login "$at" --token-file "$scratch/ann.token" --fingerprint "$fingerprint"
[ "$(stat -c %a "$HOME/.config/islr/client.yaml")" = 600 ] || fail "client.yaml is open to others"
[ "$(ctl status --json | json user)" = ann ] || fail "not logged in as ann"
expect 5 ctl token list
expect 5 ctl token create --user ann --role admin
chmod 644 "$HOME/.config/islr/client.yaml"
expect 5 ctl status
said 'chmod 600'
chmod 600 "$HOME/.config/islr/client.yaml"
ISLR_TOKEN=islr_1_00 expect 5 ctl status
expect 5 ctl status --server "tls:localhost:${at##*:}" # another name: not the one that is known
ISLR_CA=$scratch/server/tls.pem ISLR_TOKEN=$(cat "$scratch/ann.token") expect 0 ctl status --server "tls:localhost:${at##*:}"

# With somebody there to ask: the certificate is shown and accepted by "yes" and nothing else, the token is not echoed.
login_by_hand() {
    HOME=$scratch/hand python3 - "$ISLRCTL" "$at" "$1" "$(cat "$scratch/ann.token")" <<'PYTHON'
import os, pty, sys
program, at, answer, token = sys.argv[1:]
pid, terminal = pty.fork()
if pid == 0:
    os.execv(program, ["islrctl", "login", at])
said = b""
def until(text):
    global said
    while text not in said:
        said += os.read(terminal, 4096)
until(b"(yes/no)? ")
os.write(terminal, answer.encode() + b"\n")
if answer == "yes":
    until(b"token: ")
    os.write(terminal, token.encode() + b"\n")
try:
    while part := os.read(terminal, 4096):
        said += part
except OSError: # how a terminal ends
    pass
assert token.encode() not in said, said
print(said.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
PYTHON
}
mkdir "$scratch/hand"
expect 5 login_by_hand y
said "$fingerprint"
expect 0 login_by_hand yes
said 'as ann \(submitter\)'

# Workers over the network train as on the socket, and only with a worker's token.
expect 5 "$ISLRD" work --server "$at" --threads 1 --scratch "$scratch/work" --fingerprint "$fingerprint" \
    --token-file "$scratch/ann.token"
token node worker >"$scratch/node.token"
chmod 600 "$scratch/node.token"
start workers "${mpirun[@]}" -np 2 "$ISLRD" work --server "$at" --threads 1 --scratch "$scratch/work" \
    --fingerprint "$fingerprint" --token-file "$scratch/node.token"
until_true 30 "two workers" workers_up 2
submit
expect 0 ctl wait "$run" --timeout "$(within 120)"
check_metrics "$run" "$steps"
expect 0 ctl pull "$run:soup" -o "$scratch/pulled"
# They read what their own run needs, and with their token nobody reads anything else.
ISLR_TOKEN=$(cat "$scratch/node.token") expect 5 ctl pull "$run:soup" -o "$scratch/stolen"
[ ! -e "$scratch/stolen" ] || fail "a worker's token pulls"
submit "init.student=$run:student" "init.teacher=$run:teacher" "init.distilled=$run:distilled"
expect 0 ctl wait "$run" --timeout "$(within 120)"

# SIGHUP: a new certificate, for new connections; the workers stay, clients notice.
mkdir "$scratch/other"
start other "$ISLRD" serve --dir "$scratch/other" --listen 127.0.0.1:0
until_true 20 "another server" test -s "$scratch/other/tls.pem"
kill -TERM "$pid"
cp "$scratch/other/tls.pem" "$scratch/server/tls.pem.new" && mv "$scratch/server/tls.pem.new" "$scratch/server/tls.pem"
kill -HUP "$server"
until_true 10 "the certificate is read again" grep -q 'again: the certificate' "$scratch/server.log"
expect 5 ctl status
said 'NOT THE ONE THAT IS KNOWN'
[ "$(local_admin workers --json | grep -o '"rank"' | wc -l)" = 2 ] || fail "the workers were hung up on"
renewed=$(grep -o 'SHA256:[0-9a-f]*' "$scratch/server.log" | tail -n 1)
expect 0 ctl login "$at" --token-file "$scratch/ann.token" --fingerprint "$renewed"
expect 0 ctl status

# Revoked: at once, also for who follows; the unix socket never needs a token.
submit train.epochs=2000
until_true 30 "the long run runs" eval '[ "$(state_of $run)" = running ]'
start follower "$ISLRCTL" logs "$run" -f
follower=$pid
until_true 30 "the follower is told something" test -s "$scratch/follower.log"
expect 0 local_admin token revoke 1
until_true 10 "the follower is hung up on" eval "! alive $follower"
wait "$follower"
[ $? = 5 ] || fail "the follower did not end with 5"
expect 5 ctl status
expect 0 local_admin cancel "$run"
exit 0

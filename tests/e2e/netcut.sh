#!/usr/bin/env bash
# A world over two machines (network namespaces with a cable between them) whose cable is pulled while the server can be
# reached by both: each rank waits for the other one, which is said, and the run goes on elsewhere in bounded time.
. "$(dirname "$0")/lib.sh"
export XDG_CACHE_HOME=$scratch/cache
[ "$(id -u)" = 0 ] && command -v ip nsenter unshare >/dev/null || skip "takes root, ip, nsenter and unshare"
one=i$$a two=i$$b

clear_network() {
    for space in $one $two; do
        for process in $(ip netns pids $space 2>/dev/null); do kill -9 "$process" 2>/dev/null; done
        ip netns del $space 2>/dev/null
    done
}
trap 'status=$?; clear_network; (exit $status); finish' EXIT
{
    ip netns add $one && ip netns add $two && ip link add $one netns $one type veth peer name $two netns $two &&
        ip -n $one addr add 10.99.7.1/24 dev $one && ip -n $two addr add 10.99.7.2/24 dev $two &&
        ip -n $one link set $one up && ip -n $two link set $two up && ip -n $one link set lo up && ip -n $two link set lo up
} 2>"$scratch/network.log" || skip "no network namespaces here: $(tail -n 1 "$scratch/network.log")"

# How mpirun reaches the other machine.
cat >"$scratch/agent" <<AGENT
#!/bin/sh
shift
exec nsenter --net=/var/run/netns/$two unshare --uts sh -c "hostname nodeb; \$*"
AGENT
cat >"$scratch/world" <<WORLD
#!/bin/sh
hostname nodea
exec ${mpirun[*]} --mca plm_rsh_agent $scratch/agent --mca btl tcp,self --mca btl_tcp_if_include 10.99.7.0/24 \
    --mca oob_tcp_if_include 10.99.7.0/24 -host 10.99.7.1:1,10.99.7.2:1 -np 2 -x ISLR_SERVER -x XDG_CACHE_HOME \
    "$ISLRD" work --threads 1
WORLD
chmod +x "$scratch/agent" "$scratch/world"

make_recordings 48
write_job
start server "$ISLRD" serve --dir "$scratch/server" --socket "$scratch/socket" --lease-seconds "$(bound 10)" --hang-seconds "$(bound 5)"
until_true 20 "the server" ctl status
start world nsenter --net=/var/run/netns/$one unshare --uts "$scratch/world"
until_true 40 "two workers" workers_up 2
ctl workers | grep -q nodea && ctl workers | grep -q nodeb || fail "the two machines are not there: $(ctl workers)"
attempt() { ctl show "$run" --json | json attempts "$@"; }
at_step() { [ "$(ctl show "$run" --json | json step)" -ge "$1" ]; }
submit train.epochs=2000
until_true 60 "it trains" at_step 3

began=$SECONDS
ip -n $two link set $two down
until_true 40 "the run is lost" eval '[ "$(attempt 0 outcome)" = lost ]'
reason=$(attempt 0 reason)
echo "after $((SECONDS - began)) s: $reason"
for rank in "rank 0 \(host nodea, pid [0-9]+\) waits [0-9]+ s in a [a-z]+ for rank 1 on nodeb" \
    "rank 1 \(host nodeb, pid [0-9]+\) waits [0-9]+ s in a [a-z]+ for rank 0 on nodea"; do
    grep -qE "no rank gets anywhere: .*$rank" <<<"$reason" || fail "not said: $rank: $reason"
done
until_true 60 "the ranks end" eval '[ "$(ctl status --json | json workers)" = 0 ]'
start next "${mpirun[@]}" -np 1 "$ISLRD" work --threads 1
until_true 60 "the run goes on elsewhere" eval '[ "$(attempt 1 resumed_from_step)" -gt 0 ]'
expect 0 ctl cancel "$run"
until_true 60 "it is cancelled" eval '[ "$(state_of "$run")" = cancelled ]'

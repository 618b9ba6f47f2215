#!/usr/bin/env bash
# Sums in device memory over NCCL's stand-in: right to the bit, and where ranks stay away, fall behind, die, or NCCL
# fails, is lost or hangs, everything ends in bounded time and what is said names who or what.
# usage: test_device.sh RANK_DEVICE MPIRUN...
. "$(dirname "$0")/lib.sh"

export ISLR_COMM_TIMEOUT=60
for ranks in 2 3; do
    launch $ranks sums
    [ $status -eq 0 ] && [ "$(grep -c 'all sums are right' "$said")" -eq $ranks ] || fail "sums of $ranks ranks"
    said_line "gradients travel by NCCL" || fail "what is used is not said"
    ISLR_NCCL=bf16 launch $ranks sums
    [ $status -eq 0 ] && [ "$(grep -c 'all sums are right' "$said")" -eq $ranks ] || fail "bf16 sums of $ranks ranks"
    ISLR_NCCL=fast launch $ranks sums
    [ $status -eq 0 ] && [ "$(grep -c 'all sums are right' "$said")" -eq $ranks ] || fail "NCCL's sums of $ranks ranks"
done

# Without NCCL on one rank, or by wish, there is none: for the caller to take another way.
ISLR_NCCL=off launch 2 sums
[ $status -eq 0 ] && said_line "no NCCL: ISLR_NCCL=off" || fail "ISLR_NCCL=off is not obeyed"
ISLR_NCCL_LIBRARY=/nowhere/libnccl.so.2 launch 2 sums
[ $status -eq 0 ] && said_line "no NCCL: ISLR_NCCL_LIBRARY: /nowhere/libnccl.so.2" || fail "a missing NCCL is not told"
ISLR_NCCL=sometimes launch 2 sums
[ $status -eq 2 ] && said_line "ISLR_NCCL is 'sometimes'" || fail "a wrong ISLR_NCCL is taken"

# What one rank replays, all must (NCCL's rule, which the stand-in watches over).
launch 2 replay
[ $status -eq 0 ] || fail "sums that are replayed"
launch 2 uneven
[ $status -eq 1 ] && said_line "an exchange is of capture" || fail "ranks of which one replays are not noticed"

never_open() {
    launch 3 never-open
    [ $status -eq 6 ] && said_line "for rank 2 on $host, which did not arrive" || fail "a rank that never comes is not named"
}

absent() {
    CUDAHOST_NCCL=1:absent launch 2 row
    [ $status -eq 6 ] && said_line "$waited in building NCCL's communicator" || fail "NCCL's start has no end"
}

stay_away() {
    launch 3 stay-away
    [ $status -eq 6 ] && said_line "rank 0 on $host: $waited in a sum of gradients; when the ranks were called, .* for rank 2 on $host" ||
        fail "a rank that stays away from a sum is not named"
}

gather_stay_away() {
    launch 3 gather-stay-away
    [ $status -eq 6 ] && said_line "rank 0 on $host: $waited in .* a gathering of weights; when the ranks were called, .* for rank 2 on $host" ||
        fail "a rank that stays away from a gathering is not named"
}

lost_weights() {
    CUDAHOST_NCCL=1:lost launch 2 gather
    [ $status -eq 6 ] && said_line "$waited in .* a gathering of weights; all ranks are there" || fail "lost weights have no end"
}

elsewhere() {
    launch 3 skip
    [ $status -ne 124 ] && said_line "$waited in a sum of gradients; when the ranks were called, .* was sent 0 bytes by rank 2 on $host where it" ||
        fail "a rank that is elsewhere is not named"
}

behind() {
    CUDAHOST_NCCL=2:lost launch 3 skip
    [ $status -eq 6 ] && said_line "rank 2 on $host has begun 3 of 4 collectives" || fail "a rank that is behind is not named"
}

lost_data() {
    CUDAHOST_NCCL=1:lost launch 2 row
    [ $status -eq 6 ] && said_line "$waited in a sum of gradients; all ranks are there" || fail "lost data has no end"
}

failing() {
    CUDAHOST_NCCL=1:error launch 2 row
    [ $status -eq 1 ] && said_line "rank 1 on $host: NCCL failed in .*: unhandled system error" &&
        said_line "rank 0 on $host: NCCL failed in .*: remote process exited" || fail "NCCL's failures are not told"
}

hanging_abort() {
    CUDAHOST_NCCL=0:abort-hangs launch 2 stay-away
    [ $status -eq 6 ] && said_line "rank 0 on $host: $waited in a sum .* and NCCL did not give up within [0-9]+ s: leaving" ||
        fail "a hanging abort keeps the process"
}

dying() {
    launch 2 die
    [ $status -ne 0 ] && [ $status -ne 124 ] && said_died 1 6 || fail "a rank that dies is not named"
}

# FUNCTION: and afterwards nothing goes on.
ends_well() {
    waited="waited $ISLR_COMM_TIMEOUT s"
    "$1"
    ! said_line "is not broken|took too long" || fail "after a failure: $1"
}
for fault in never_open absent stay_away gather_stay_away lost_weights elsewhere behind lost_data failing hanging_abort dying; do
    patiently ends_well $fault
done
# What ranks that never met have left; other tests' ranks are meeting now.
for left in /dev/shm/islr-cudahost-nccl-*; do
    maker=${left#*-nccl-}
    [ -e "/proc/${maker%-*}" ] || rm -f "$left"
done
[ $failures -eq 0 ] && echo "all sums and faults ended as they must"
exit $((failures > 0))

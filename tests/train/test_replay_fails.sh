#!/usr/bin/env bash
# NCCL fails while a step is recorded: the ranks end by themselves and say so.
# usage: test_replay_fails.sh TEST_REPLAY MPIRUN..
. "$(dirname "$0")/../comm/lib.sh"
export ISLR_COMM_TIMEOUT=30 # a loaded machine takes seconds a step
CUDAHOST_NCCL=1:unrecorded launch 2 fp32 3
[ $status -ne 0 ] && [ $status -ne 124 ] &&
    said_line 'NCCL failed in .*: unhandled system error.*while a step was recorded: ISLR_RECORD=off does without' ||
    fail "a failure while a step is recorded is not told"
! said_line 'NCCL did not give up' || fail "NCCL is given up while a step is recorded"
exit $((failures > 0))

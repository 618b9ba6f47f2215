// A run's checkpoints, which the server sends in as many messages as they need.
#ifndef ISLR_RPC_CHECKPOINT_LIST_H
#define ISLR_RPC_CHECKPOINT_LIST_H

#include "core/rpc/call.h"

// ListCheckpoints; `as` which rank (NULL: as a client). The answer's checkpoint_list holds all of them, oldest first;
// envelope_free() it. NULL: as rpc_call(), RPC_CALL_MS to the first message.
Islr__Envelope *checkpoint_list_ask(struct caller *c, uint64_t run, const Islr__ReadAs *as, struct error *e);

#endif

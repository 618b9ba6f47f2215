// A run's checkpoints, for checkpoints and pull.
#ifndef ISLR_CLIENT_CHECKPOINTS_H
#define ISLR_CLIENT_CHECKPOINTS_H

#include <stdbool.h>

#include "core/rpc/call.h"

#define CHECKPOINTS_DOCUMENT                                                                                           \
    "{\"run\", \"checkpoints\": [{\"id\", \"run\", \"what\", \"epoch\" (0: final), \"step\", \"sha256\", "             \
    "\"size_bytes\", \"time\", \"pinned\", \"lost\", \"members\": [ID, ..], \"metrics\": {metric: value}}]}"

// The answer holds checkpoint_list; envelope_free() it.
Islr__Envelope *checkpoints_get(struct caller *c, uint64_t run, struct error *e);
void checkpoints_print(uint64_t run, const Islr__CheckpointList *l, bool json);

#endif

// A run's checkpoints, for checkpoints and pull.
#ifndef ISLR_CLIENT_CHECKPOINTS_H
#define ISLR_CLIENT_CHECKPOINTS_H

#include <stdbool.h>

#include "core/rpc/checkpoint_list.h"

#define CHECKPOINTS_DOCUMENT                                                                                           \
    "{\"run\", \"checkpoints\": [{\"id\", \"run\", \"what\", \"epoch\" (0: final), \"step\", \"sha256\", "             \
    "\"size_bytes\", \"time\", \"pinned\", \"lost\", \"members\": [ID, ..], \"metrics\": {metric: value}}]}"

void checkpoints_print(uint64_t run, const Islr__CheckpointList *l, bool json);

#endif

// Checkpoints: artifacts that a run has made, by what they are.
#ifndef ISLR_STORE_CHECKPOINT_H
#define ISLR_STORE_CHECKPOINT_H

#include <stdint.h>

#include "core/base/hash.h"
#include "core/store/pool.h"
#include "core/store/reporter.h"
#include "core/store/store.h"
#include "proto/control.pb-c.h"

// Whether a worker's message is one that checkpoint_add may be given. ERR_INVALID.
int checkpoint_check(const Islr__AddCheckpoint *m, struct error *e);

// Names an artifact as a run's checkpoint; of resume points only the newest stay (retention.h). The same checkpoint of
// the same attempt again is `existed`. REFUSED: another rank reports on the attempt (ERR_DENIED), it has ended or is none
// (ERR_NOT_FOUND), the artifact is not there or not this run's (artifact_row.h; the server itself names any), or a soup's
// ingredient is not there (ERR_NOT_FOUND).
struct checkpoint_add {
    struct store_op op;
    const Islr__AddCheckpoint *message; // checked
    const struct reporter *by;          // NULL: the server itself
    int64_t time_ms;
    // results
    uint64_t id;
    int existed;
};
void checkpoint_add_prepare(struct checkpoint_add *r);

// REFUSED: there is none (ERR_NOT_FOUND), or it is of another user's run (ERR_DENIED; as_user NULL: anyone's).
struct checkpoint_pin {
    struct store_op op;
    const char *as_user;
    uint64_t id;
    int pinned;
};
void checkpoint_pin_prepare(struct checkpoint_pin *r);

// Reading, oldest first, into the pool. Those with a number above `after`: until there are `most` of them, or they fill
// `bytes` of a message. 1: there are others behind them, 0: these were the last, -1.
struct checkpoint_query {
    uint64_t run, after;
    size_t most, bytes;
};
int checkpoint_list(struct store_reader *reader, const struct checkpoint_query *query, struct pool *pool,
                    Islr__CheckpointInfo ***out, size_t *count, struct error *e);
// As many of the newest as have room in so many bytes of a message; *all: how many there are.
int checkpoint_list_newest(struct store_reader *reader, uint64_t run, size_t bytes, struct pool *pool,
                           Islr__CheckpointInfo ***out, size_t *count, uint64_t *all, struct error *e);

// What the run's checkpoints with this content are: each kind and epoch once, nothing else is filled in.
int checkpoint_list_of(struct store_reader *reader, const struct hash *artifact, uint64_t run, struct pool *pool,
                       Islr__CheckpointInfo ***out, size_t *count, struct error *e);

// 1: the artifact is one of the run's checkpoints, or (`below`) one of a run's in this group; 0; -1.
int checkpoint_is_of(struct store_reader *reader, const struct hash *artifact, uint64_t run, int below,
                     struct error *e);

#endif

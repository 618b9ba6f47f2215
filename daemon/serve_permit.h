// What a worker may read. Its nodes are given runs of all users and are trusted with no more than these: a rank reads what
// the run that it works on has made (resume points, epochs), what the run's job names (init.*, models; where that is the
// best of a run, the models of its epochs) and, where it joins folds, what these have made; while its attempt is under
// way, and nothing else.
#ifndef ISLR_DAEMON_SERVE_PERMIT_H
#define ISLR_DAEMON_SERVE_PERMIT_H

#include "core/base/hash.h"
#include "core/store/pool.h"
#include "core/store/store.h"
#include "daemon/serve_session.h"

// On the loop, before anything is read: who comes with a worker's token says as which rank he reads (`as`, NULL: he does
// not). -1: ERR_DENIED.
int permit_reader(const struct session *session, const Islr__ReadAs *as, struct error *e);

// In the pool; `as` NULL: not as a rank, so everything. -1: ERR_DENIED, or the database cannot be read.
int permit_artifact(struct store_reader *reader, const Islr__ReadAs *as, const struct hash *artifact, struct pool *pool,
                    struct error *e);
int permit_checkpoints(struct store_reader *reader, const Islr__ReadAs *as, uint64_t run, struct pool *pool,
                       struct error *e);

#endif

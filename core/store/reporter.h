// Who reports on an attempt. The first rank of its gang does and nobody else, whichever connection it comes by and
// whether or not the attempt is still under way: the database knows the gang of every attempt, so a rank is known after a
// reconnect, a server's restart and the attempt's end. A world's name is random and known to its ranks and the server
// alone, which is what a rank proves itself by.
#ifndef ISLR_STORE_REPORTER_H
#define ISLR_STORE_REPORTER_H

#include <stdint.h>

#include "core/store/store.h"

struct reporter {
    char *world; // NULL: nobody
    uint32_t rank;
};

// Private to core/store: ERR_DENIED where `who` (NULL: the server itself, which may) is not the attempt's first rank.
// Nothing is said about an attempt that is not there.
struct db;
int reporter_check(struct db *db, const struct reporter *who, uint64_t run, uint32_t attempt, struct error *e);

// Is `who` one of the gang of this attempt, and is it under way? -1: no (ERR_DENIED), not any more (ERR_NOT_FOUND).
int reporter_works_on(struct store_reader *reader, const struct reporter *who, uint64_t run, uint32_t attempt,
                      struct error *e);

#endif

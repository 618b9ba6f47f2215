// The server's own durable facts, by name.
#ifndef ISLR_STORE_SETTING_H
#define ISLR_STORE_SETTING_H

#include "core/store/pool.h"
#include "core/store/store.h"

struct setting_set {
    struct store_op op;
    const char *name, *value;
    const char *event; // told in the server's events; NULL: not
    int64_t time_ms;
    int keep; // a value that is there already stays, and comes back in `now`
    // result
    char now[128];
};
void setting_set_prepare(struct setting_set *r);

// All that are set to something and whose names begin with this, in the pool.
struct setting {
    const char *name; // without the beginning
    const char *value;
};
int setting_list(struct store_reader *reader, const char *beginning, struct pool *pool, struct setting **out,
                 size_t *count, struct error *e);

// Reading: 1, 0: not set, -1.
int setting_get(struct store_reader *reader, const char *name, char value[128], struct error *e);

#endif

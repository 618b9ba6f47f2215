// Tokens: who may speak to the server from elsewhere. What a token is worth is known by its hash alone.
#ifndef ISLR_STORE_TOKEN_ROW_H
#define ISLR_STORE_TOKEN_ROW_H

#include <stdint.h>

#include "core/base/hash.h"
#include "core/store/pool.h"
#include "core/store/store.h"

enum { TOKEN_USER_SIZE = 64, TOKEN_ROLE_SIZE = 16 };

struct token_row {
    uint64_t id;
    char user[TOKEN_USER_SIZE], role[TOKEN_ROLE_SIZE];
    struct hash secret; // SHA-256 of what was shown once
    int64_t created_ms; // wall clock, as all times here
    int64_t expires_ms; // 0: never
    int64_t revoked_ms; // 0: valid
};

struct token_create {
    struct store_op op;
    struct token_row row; // all but the id, which comes back
    const char *event;    // for the server's events, who made it for whom
};
void token_create_prepare(struct token_create *r);

// Several at once, all or none. REFUSED: there is no such token (ERR_NOT_FOUND). Revoked ones stay as they are.
struct token_revoke {
    struct store_op op;
    const uint64_t *ids;
    size_t count;
    const char *event;
    int64_t time_ms;
};
void token_revoke_prepare(struct token_revoke *r);

// Reading, oldest first, into the pool: at most `most` of those with a number above `after`; `all`: revoked ones too.
int token_list(struct store_reader *reader, int all, uint64_t after, size_t most, struct pool *pool,
               struct token_row **out, size_t *count, struct error *e);

#endif

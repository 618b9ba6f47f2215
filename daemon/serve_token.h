// The tokens that are valid, in memory; what they look like and who has which.
//
// A token is "islr_<id>_<secret>", the secret 32 random bytes in hexadecimal. The id finds the entry; the secret's
// SHA-256 is then compared in constant time.
#ifndef ISLR_DAEMON_SERVE_TOKEN_H
#define ISLR_DAEMON_SERVE_TOKEN_H

#include <stddef.h>
#include <stdint.h>

#include "core/store/token_row.h"

struct server;

struct tokens {
    struct token_row *items;
    size_t count;
};

int tokens_load(struct server *s, struct store_reader *reader, struct error *e); // at the start
void tokens_free(struct tokens *t);

// The token that `text` is, valid now. NULL with ERR_DENIED.
const struct token_row *token_check(const struct tokens *t, const char *text, int64_t now_ms, struct error *e);

#endif

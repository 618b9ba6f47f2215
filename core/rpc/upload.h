// A file to the server as an artifact: asks how far the server has got, sends the rest with several Put requests under
// way, and is over when the server has verified the hash and made it durable.
#ifndef ISLR_RPC_UPLOAD_H
#define ISLR_RPC_UPLOAD_H

#include "core/base/hash.h"
#include "core/rpc/peer.h"

struct upload;

struct upload_options {
    const char *path;
    struct hash sha256;
    uint64_t size;
    void *context;
    // Once, last, not from within upload_start(): ERR_NONE when the server has it. After anything else a new upload
    // goes on where this one stopped. The upload is freed when it returns.
    void (*on_end)(void *context, const struct error *why);
};

struct upload *upload_start(struct peer *p, const struct upload_options *options, struct error *e);
void upload_cancel(struct upload *u); // frees it; no callback

#endif

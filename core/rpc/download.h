// An artifact into a file: into PATH.<first digits of its hash>.part first, from where an earlier try stopped, then
// checked against its SHA-256, synced and renamed. PATH is thus the old file or the whole new one.
#ifndef ISLR_RPC_DOWNLOAD_H
#define ISLR_RPC_DOWNLOAD_H

#include "core/base/hash.h"
#include "core/rpc/peer.h"

struct download;

struct download_options {
    const char *path;
    struct hash sha256;
    uint64_t size;
    const Islr__ReadAs *as; // as which rank is read, until the end; NULL: as a client
    void *context;
    void (*on_progress)(void *context, uint64_t have); // may be NULL
    // Once, last, not from within download_start(): ERR_NONE when the file is there. Otherwise the part stays for the
    // next try (ERR_DAMAGED: it is gone). The download is freed when it returns.
    void (*on_end)(void *context, const struct error *why);
};

// NULL with an error, or NULL with ERR_NONE: nothing had to be fetched any more and the file is there.
struct download *download_start(struct peer *p, const struct download_options *options, struct error *e);
void download_cancel(struct download *d); // frees it, keeps the part; no callback; not from on_progress

#endif

// One try to reach an address: the name looked up, each of its addresses tried in turn. Connections come out plain; TLS
// is the business of who dials.
#ifndef ISLR_RPC_DIAL_H
#define ISLR_RPC_DIAL_H

#include <uv.h>

#include "core/rpc/address.h"

struct dial;

// Once, from the loop: a connected stream, malloc'ed and now the callback's, or NULL and libuv's error number.
typedef void (*dial_fn)(void *context, uv_stream_t *stream, int status);

struct dial *dial_start(uv_loop_t *loop, const struct address *a, dial_fn on_end, void *context);
// No more callback. What is under way is ended from the loop, which must go on for that.
void dial_cancel(struct dial *d);

#endif

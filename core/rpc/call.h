// Blocking calls for commands that ask one thing after the other. A caller owns a private loop; there are no threads.
#ifndef ISLR_RPC_CALL_H
#define ISLR_RPC_CALL_H

#include <uv.h>

#include "core/rpc/link.h"

struct caller;

// Connects and greets; NULL with ERR_UNREACHABLE (no server), ERR_TIMEOUT (it says nothing for RPC_HANDSHAKE_MS, or for as
// long as may be waited here), ERR_DENIED or ERR_INVALID (another protocol).
struct caller *caller_open(const struct address *address, const char *token, struct error *e);
struct caller *caller_open_within(const struct address *address, const char *token, uint64_t ms, struct error *e);
void caller_close(struct caller *c);      // NULL is fine
uv_loop_t *caller_loop(struct caller *c); // for signals and timers of the command's own
const Islr__Welcome *caller_welcome(const struct caller *c);
struct peer *caller_peer(const struct caller *c); // NULL: the connection is lost

// For what is driven by callbacks (download.h): runs the loop until *done.
void caller_run_until(struct caller *c, const int *done);

// Sends a request and waits for its only reply, which must be of kind `expect`; envelope_free() it. NULL with the
// Fault's code and text, ERR_UNREACHABLE when the connection is lost, or ERR_TIMEOUT after timeout_ms (0: RPC_CALL_MS).
Islr__Envelope *rpc_call(struct caller *c, Islr__Envelope *request, Islr__Envelope__BodyCase expect,
                         uint64_t timeout_ms, struct error *e);

// For requests with several replies: each goes to on_reply until the last one or until on_reply returns non-zero, which
// is then returned. 0: the last reply came. -1: as rpc_call(); timeout_ms here is the time to the first reply, 0: none.
typedef int (*rpc_stream_fn)(void *context, const Islr__Envelope *m, struct error *e);
int rpc_stream(struct caller *c, Islr__Envelope *request, uint64_t timeout_ms, rpc_stream_fn on_reply, void *context,
               struct error *e);

// Ends the rpc_call() or rpc_stream() under way with this error; for signal and timer callbacks.
void caller_interrupt(struct caller *c, const struct error *why);

#endif

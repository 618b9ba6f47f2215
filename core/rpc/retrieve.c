// Downloads for programs that may block: see retrieve.h.
#include "core/rpc/retrieve.h"

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/rpc/checkpoint_list.h"
#include "core/rpc/download.h"
#include "core/rpc/protocol.h"

struct caller *retrieval_caller(struct retrieval *r, struct error *e)
{
    if (r->caller && !caller_peer(r->caller)) {
        caller_close(r->caller);
        r->caller = NULL;
    }
    if (!r->caller)
        r->caller = caller_open(r->address, r->token, e);
    return r->caller;
}

int retrieve_answer(struct retrieval *r, int (*ask)(struct caller *c, void *context, struct error *e), void *context,
                    struct error *e)
{
    double pause = RPC_BACKOFF_FIRST_MS / 1e3;
    r->moved = clock_seconds();
    for (;;) {
        if (retrieval_caller(r, e) && !ask(r->caller, context, e))
            return 0;
        if (!link_is_break(e))
            return -1;
        if (r->should_stop && r->should_stop(r->context))
            return error_set(e, ERR_INTERRUPTED, "stopped while the server was away");
        if (clock_seconds() - r->moved > r->patience_seconds)
            return -1;
        caller_close(r->caller); // a call that timed out may still be answered: not over this connection
        r->caller = NULL;
        clock_sleep(pause);
        pause = pause * 2 < RPC_BACKOFF_LAST_MS / 1e3 ? pause * 2 : RPC_BACKOFF_LAST_MS / 1e3;
    }
}

static void on_progress(void *context, uint64_t have)
{
    struct retrieval *r = context;
    r->moved = clock_seconds();
    if (r->on_progress)
        r->on_progress(r->context, have);
}

static void on_end(void *context, const struct error *why)
{
    struct retrieval *r = context;
    r->done = 1;
    r->why = *why;
}

struct wanted {
    struct retrieval *retrieval;
    struct download_options options;
};

// What came has not the hash. The server looks at its file, so that it is not given to the next one; its word is the
// better one.
static void ask_to_verify(struct caller *c, const struct download_options *o, struct error *e)
{
    struct error said;
    Islr__Fetch fetch = ISLR__FETCH__INIT;
    Islr__Envelope m = ENVELOPE(FETCH, fetch, &fetch);
    fetch.has_sha256 = fetch.has_size = fetch.has_verify = 1;
    fetch.sha256 = (ProtobufCBinaryData){sizeof o->sha256.bytes, (uint8_t *)o->sha256.bytes};
    fetch.size = 1;
    fetch.verify = 1;
    fetch.as = (Islr__ReadAs *)o->as;
    Islr__Envelope *answer = rpc_call(c, &m, ISLR__ENVELOPE__BODY_CHUNK, 0, &said);
    if (!answer && said.code == ERR_DAMAGED)
        *e = said;
    envelope_free(answer);
}

static int download_once(struct caller *c, void *context, struct error *e)
{
    struct wanted *w = context;
    struct retrieval *r = w->retrieval;
    uv_update_time(caller_loop(c));
    r->done = 0;
    if (!download_start(caller_peer(c), &w->options, e))
        return e->code == ERR_NONE ? 0 : -1;
    caller_run_until(c, &r->done);
    *e = r->why;
    if (e->code == ERR_DAMAGED && caller_peer(c))
        ask_to_verify(c, &w->options, e);
    return e->code == ERR_NONE ? 0 : -1;
}

int retrieve_file(struct retrieval *r, const char *path, const struct hash *sha256, uint64_t size, struct error *e)
{
    struct hash found;
    struct wanted w = {r, {.path = path, .sha256 = *sha256, .size = size, .as = r->as, .context = r}};
    if (file_exists(path) && !hash_file(path, &found, NULL) && hash_equal(&found, sha256))
        return 0;
    w.options.on_progress = on_progress;
    w.options.on_end = on_end;
    return retrieve_answer(r, download_once, &w, e);
}

// ---- what there is --------------------------------------------------------------------------------------------------

struct asked {
    uint64_t run;
    const Islr__ReadAs *as;
    Islr__Envelope *answer;
};

static int ask_checkpoints(struct caller *c, void *context, struct error *e)
{
    struct asked *a = context;
    a->answer = checkpoint_list_ask(c, a->run, a->as, e);
    return a->answer ? 0 : -1;
}

Islr__Envelope *retrieve_checkpoints(struct retrieval *r, uint64_t run, struct error *e)
{
    struct asked a = {run, r->as, NULL};
    return retrieve_answer(r, ask_checkpoints, &a, e) ? NULL : a.answer;
}

// A file to the server as an artifact: see upload.h.
#include "core/rpc/upload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/rpc/protocol.h"

enum { WINDOW = 4 }; // data requests under way

struct upload {
    struct peer *peer;
    struct upload_options options;
    char *path;
    int fd;
    uint8_t *buffer;      // RPC_CHUNK_MAX
    uint64_t ids[WINDOW]; // of the requests under way, 0: free
    uint64_t next;        // offset to send from
    int asked;            // the server has said where to go on
    int last_sent;        // all bytes are on their way
};

static void release(struct upload *u)
{
    for (int i = 0; i < WINDOW; i++)
        if (u->ids[i])
            peer_forget(u->peer, u->ids[i]);
    if (u->fd >= 0)
        close(u->fd);
    free(u->buffer);
    free(u->path);
    free(u);
}

static void end(struct upload *u, const struct error *why)
{
    struct upload_options options = u->options;
    struct error copy = *why;
    release(u);
    options.on_end(options.context, &copy);
}

static int read_chunk(struct upload *u, size_t size, struct error *e)
{
    size_t have = 0;
    while (have < size) {
        ssize_t n = pread(u->fd, u->buffer + have, size - have, (off_t)(u->next + have));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(e, ERR_FAILED, "cannot read %s", u->path);
        if (n == 0)
            return error_set(e, ERR_DAMAGED, "%s is shorter than it was: %llu bytes were to be sent", u->path,
                             (unsigned long long)u->options.size);
        have += (size_t)n;
    }
    return 0;
}

static void answered(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why);

static int put(struct upload *u, int slot, int with_data, struct error *e)
{
    Islr__Put put = ISLR__PUT__INIT;
    put.has_sha256 = put.has_total = 1;
    put.sha256 = (ProtobufCBinaryData){sizeof u->options.sha256.bytes, u->options.sha256.bytes};
    put.total = u->options.size;
    if (with_data) {
        uint64_t left = u->options.size - u->next;
        size_t size = left < RPC_CHUNK_MAX ? (size_t)left : RPC_CHUNK_MAX;
        if (read_chunk(u, size, e))
            return -1;
        put.has_offset = put.has_data = 1;
        put.offset = u->next;
        put.data = (ProtobufCBinaryData){size, u->buffer};
        u->next += size;
        u->last_sent = u->next == u->options.size;
    }
    Islr__Envelope m = ENVELOPE(PUT, put, &put);
    u->ids[slot] = peer_request(u->peer, &m, RPC_DURABLE_MS, answered, u, e);
    return u->ids[slot] ? 0 : -1;
}

// At least one request has data, if only none of it: where the server has all bytes already, it makes it look again.
static int send_more(struct upload *u, struct error *e)
{
    for (int i = 0; i < WINDOW && !u->last_sent; i++)
        if (!u->ids[i] && put(u, i, 1, e))
            return -1;
    return 0;
}

static int take_state(struct upload *u, const Islr__Envelope *m, struct error *e)
{
    if (m->body_case != ISLR__ENVELOPE__BODY_PUT_STATE)
        return error_set(e, ERR_DAMAGED, "the server answered put with %s", envelope_name(m));
    if (!u->asked) {
        u->asked = 1;
        u->next = m->put_state->have;
        if (u->next > u->options.size)
            return error_set(e, ERR_DAMAGED, "the server says that it has %llu bytes of %s, which has %llu",
                             (unsigned long long)u->next, u->path, (unsigned long long)u->options.size);
    }
    int under_way = 0;
    for (int i = 0; i < WINDOW; i++)
        under_way += u->ids[i] != 0;
    if (u->last_sent && !under_way)
        return error_set(e, ERR_DAMAGED, "the server has got all of %s and is not content", u->path);
    return send_more(u, e);
}

static void answered(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why)
{
    struct upload *u = context;
    struct error e = {ERR_NONE, ""};
    (void)p;
    for (int i = 0; i < WINDOW; i++)
        if (u->ids[i] == (m ? m->id : 0) && m)
            u->ids[i] = 0;
    if (!m)
        end(u, why);
    else if (m->body_case == ISLR__ENVELOPE__BODY_PUT_STATE && m->put_state->done)
        end(u, &e);
    else if (take_state(u, m, &e))
        end(u, &e);
}

struct upload *upload_start(struct peer *p, const struct upload_options *options, struct error *e)
{
    struct upload *u = xcalloc(1, sizeof *u);
    u->peer = p;
    u->options = *options;
    u->path = xstrdup(options->path);
    u->buffer = xmalloc(RPC_CHUNK_MAX);
    u->fd = open(options->path, O_RDONLY | O_CLOEXEC);
    if (u->fd < 0) {
        error_set_errno(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_FAILED, "cannot read %s", options->path);
    } else if (!put(u, 0, 0, e)) {
        return u;
    }
    release(u);
    return NULL;
}

void upload_cancel(struct upload *u)
{
    release(u);
}

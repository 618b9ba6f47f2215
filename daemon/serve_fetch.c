// Fetch: one chunk of an artifact, read in the pool.
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/rpc/protocol.h"
#include "core/store/artifact_row.h"
#include "daemon/serve_handlers.h"
#include "daemon/serve_permit.h"
#include "daemon/serve_read.h"

struct fetching {
    struct read_job job;
    uint64_t total;
    uint8_t *data; // in the pool
    size_t size;
    int damaged; // the file, and that was not known yet
};

// A client has got other content than the hash says. If the file is to blame, nobody is to be given it again.
static int verify(const struct read_job *job, const struct hash *hash, uint64_t total, struct error *e)
{
    enum artifact_state state;
    char hex[65];
    if (artifact_inspect(&job->base.server->artifacts, hash, total, 1, &state, e))
        return -1;
    hash_to_hex(hash, hex);
    if (state == ARTIFACT_WHOLE)
        return 0;
    return error_set(e, ERR_DAMAGED, "the artifact %s is %s (islrd fsck)", hex,
                     state == ARTIFACT_MISSING ? "missing on the server: somebody removed its file"
                                               : "damaged on the server: its file is not what it was");
}

static int read_chunk(struct fetching *f, const struct hash *hash, struct error *e)
{
    const struct read_job *job = &f->job;
    const Islr__Fetch *q = job->request->fetch;
    if (q->verify && verify(job, hash, f->total, e))
        return -1;
    return artifact_read(&job->base.server->artifacts, hash, f->total, q->offset, f->data, f->size, &f->size, e);
}

static int fetch_read(struct read_job *job, struct store_reader *reader, struct error *e)
{
    struct fetching *f = (struct fetching *)job;
    const Islr__Fetch *q = job->request->fetch;
    struct hash hash;
    if (q->sha256.len != sizeof hash.bytes)
        return error_set(e, ERR_INVALID, "an artifact is named by a SHA-256 of 32 bytes");
    memcpy(hash.bytes, q->sha256.data, sizeof hash.bytes);
    if (permit_artifact(reader, q->as, &hash, &job->pool, e))
        return -1;
    int lost, known = artifact_find(reader, &hash, &f->total, &lost, e);
    if (known < 0)
        return -1;
    char hex[65];
    hash_to_hex(&hash, hex);
    if (!known)
        return error_set(e, ERR_NOT_FOUND, "the server has no artifact %s", hex);
    if (lost)
        return error_set(e, ERR_DAMAGED,
                         "the artifact %s is lost: its file on the server is gone or damaged (islrd fsck)", hex);
    if (q->offset > f->total)
        return error_set(e, ERR_INVALID, "the artifact has only %llu bytes", (unsigned long long)f->total);
    uint32_t wanted = q->size && q->size < RPC_CHUNK_MAX ? q->size : RPC_CHUNK_MAX;
    uint64_t left = f->total - q->offset;
    f->size = left < wanted ? (size_t)left : wanted;
    f->data = pool_alloc(&job->pool, f->size);
    if (!read_chunk(f, &hash, e))
        return 0;
    f->damaged = e->code == ERR_DAMAGED;
    if (f->damaged && artifact_find(reader, &hash, &f->total, &lost, NULL) == 0) {
        f->damaged = 0; // nobody needed it any more: it was collected just now, the row first
        error_set(e, ERR_NOT_FOUND, "the server has no artifact %s any more", hex);
    }
    return -1;
}

// Somebody has removed or cut the file behind the server's back. It is marked, so that a run does not try to resume
// from it again and again.
struct losing {
    struct artifact_lost request;
    struct server *server;
};

static void lost(struct store_op *op)
{
    struct losing *l = (struct losing *)op;
    struct server *s = l->server;
    free(l);
    server_settled(s);
}

static void mark_lost(struct read_job *job)
{
    const Islr__Fetch *q = job->request->fetch;
    log_error(job->base.server->log, "%s", job->error.text);
    struct losing *l = xcalloc(1, sizeof *l);
    l->server = job->base.server;
    l->request.time_ms = server_now_ms();
    memcpy(l->request.hash.bytes, q->sha256.data, sizeof l->request.hash.bytes);
    l->request.op.done = lost;
    artifact_lost_prepare(&l->request);
    server_queue(job->base.server, &l->request.op);
}

static void fetch_done(struct read_job *job)
{
    struct fetching *f = (struct fetching *)job;
    Islr__Chunk chunk = ISLR__CHUNK__INIT;
    Islr__Envelope m = ENVELOPE(CHUNK, chunk, &chunk);
    if (job->failed && f->damaged)
        mark_lost(job);
    if (job->failed)
        return;
    chunk.has_offset = chunk.has_total = chunk.has_data = 1;
    chunk.offset = job->request->fetch->offset;
    chunk.total = f->total;
    chunk.data = (ProtobufCBinaryData){f->size, f->data};
    session_reply(job->base.session, job->id, &m);
}

void handle_fetch(struct session *session, Islr__Envelope *m)
{
    struct error e;
    if (permit_reader(session, m->fetch->as, &e)) {
        session_refuse(session, m, &e);
        return;
    }
    struct fetching *f = read_job_new(session, sizeof *f);
    f->job.read = fetch_read;
    f->job.done = fetch_done;
    read_job_start(&f->job);
}

// Fetch: one chunk of an artifact, read in the pool.
#include <stdlib.h>
#include <string.h>

#include "core/rpc/protocol.h"
#include "core/store/artifact_row.h"
#include "daemon/serve_handlers.h"
#include "daemon/serve_read.h"

struct fetching {
    struct read_job job;
    uint64_t total;
    uint8_t *data; // in the pool
    size_t size;
};

static int fetch_read(struct read_job *job, struct store_reader *reader, struct error *e)
{
    struct fetching *f = (struct fetching *)job;
    const Islr__Fetch *q = job->request->fetch;
    struct hash hash;
    if (q->sha256.len != sizeof hash.bytes)
        return error_set(e, ERR_INVALID, "an artifact is named by a SHA-256 of 32 bytes");
    memcpy(hash.bytes, q->sha256.data, sizeof hash.bytes);
    int known = artifact_find(reader, &hash, &f->total, e);
    if (known < 0)
        return -1;
    if (!known) {
        char hex[65];
        hash_to_hex(&hash, hex);
        return error_set(e, ERR_NOT_FOUND, "the server has no artifact %s", hex);
    }
    if (q->offset > f->total)
        return error_set(e, ERR_INVALID, "the artifact has only %llu bytes", (unsigned long long)f->total);
    uint32_t wanted = q->size && q->size < RPC_CHUNK_MAX ? q->size : RPC_CHUNK_MAX;
    uint64_t left = f->total - q->offset;
    size_t size = left < wanted ? (size_t)left : wanted;
    f->data = pool_alloc(&job->pool, size);
    return artifact_read(&job->server->artifacts, &hash, f->total, q->offset, f->data, size, &f->size, e);
}

static void fetch_done(struct read_job *job)
{
    struct fetching *f = (struct fetching *)job;
    Islr__Chunk chunk = ISLR__CHUNK__INIT;
    Islr__Envelope m = ENVELOPE(CHUNK, chunk, &chunk);
    if (job->failed)
        return;
    chunk.has_offset = chunk.has_total = chunk.has_data = 1;
    chunk.offset = job->request->fetch->offset;
    chunk.total = f->total;
    chunk.data = (ProtobufCBinaryData){f->size, f->data};
    session_reply(job->session, job->id, &m);
}

void handle_fetch(struct session *session, Islr__Envelope *m)
{
    (void)m;
    struct fetching *f = read_job_new(session, session->peer, sizeof *f);
    f->job.read = fetch_read;
    f->job.done = fetch_done;
    read_job_start(&f->job);
}

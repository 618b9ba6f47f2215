// Collecting artifacts: see serve_collect.h. The rows go first, in one transaction that looks at every reference; only
// then the files, by a rename on the loop's thread (so that no upload of the same content can come between), and their
// blocks are freed in the pool.
#include "daemon/serve_collect.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/store/artifact_row.h"
#include "daemon/serve_server.h"

struct collecting {
    struct artifact_collect request;
    struct server *server;
    uv_work_t work;
    int hold; // keeps backups from beginning until the files are out of the way
};

static void empty(uv_work_t *w)
{
    struct collecting *c = w->data;
    artifact_empty_trash(&c->server->artifacts);
}

static void emptied(uv_work_t *w, int status)
{
    struct collecting *c = w->data;
    struct server *s = c->server;
    (void)status;
    int again = s->collecting > 1;
    s->collecting = 0;
    free(c);
    if (again)
        collect_soon(s);
    server_settled(s);
}

static void discard(struct server *s, const struct collecting *c)
{
    struct error e;
    for (size_t i = 0; i < c->request.count; i++)
        if (!upload_under_way(s, &c->request.hashes[i]) && artifact_discard(&s->artifacts, &c->request.hashes[i], &e))
            log_warn(s->log, "%s", e.text);
    if (c->request.count)
        log_info(s->log, "%zu unneeded artifacts removed, %.1f MB", c->request.count, (double)c->request.bytes / 1e6);
}

static void collected(struct store_op *op)
{
    struct collecting *c = (struct collecting *)op;
    struct server *s = c->server;
    if (op->status == STORE_DONE)
        discard(s, c);
    if (c->hold >= 0)
        close(c->hold);
    free(c->request.hashes);
    c->work.data = c;
    s->pending++;
    uv_queue_work(s->loop, &c->work, empty, emptied);
    server_settled(s);
}

void collect_soon(struct server *s)
{
    if (s->stopping || s->collecting++)
        return;
    int hold = artifact_store_hold(&s->artifacts, ARTIFACT_COLLECT);
    if (hold < 0 && errno == EWOULDBLOCK) { // a backup copies them; there will be another occasion
        s->collecting = 0;
        return;
    }
    struct collecting *c = xcalloc(1, sizeof *c);
    c->server = s;
    c->hold = hold;
    c->request.before_ms = server_now_ms() - ARTIFACT_GRACE_MS;
    c->request.op.done = collected;
    artifact_collect_prepare(&c->request);
    server_queue(s, &c->request.op);
}

struct sweeping {
    struct store_reader *reader;
    struct error *e;
};

static int known(void *context, const struct hash *hash)
{
    struct sweeping *w = context;
    uint64_t size;
    int lost;
    return artifact_find(w->reader, hash, &size, &lost, w->e);
}

int collect_sweep(struct server *s, struct error *e)
{
    struct sweeping w = {store_reader_take(s->store, e), e};
    if (!w.reader)
        return -1;
    int removed = artifact_sweep(&s->artifacts, known, &w, e);
    store_reader_give(s->store, w.reader);
    if (removed > 0)
        log_info(s->log, "%d files of artifacts that were never finished removed", removed);
    artifact_empty_trash(&s->artifacts);
    return removed < 0 ? -1 : 0;
}

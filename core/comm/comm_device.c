// Communicators over device memory, opened and closed: see comm_device.h.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/comm/comm_device_impl.h"
#include "core/comm/deadline.h"

enum { PIECE = COMM_DEVICE_PIECE };

static int way_wanted(enum way *way, struct error *e)
{
    const char *text = getenv("ISLR_NCCL");
    if (!text || !*text || !strcmp(text, "ordered"))
        *way = WAY_ORDERED;
    else if (!strcmp(text, "bf16"))
        *way = WAY_BF16;
    else if (!strcmp(text, "fast"))
        *way = WAY_FAST;
    else if (!strcmp(text, "off"))
        *way = WAY_OFF;
    else
        return error_set(e, ERR_INVALID, "ISLR_NCCL is '%s': it must be ordered, bf16, fast or off", text);
    return 0;
}

static int connect_ranks(struct comm_device *d, struct error *e)
{
    struct nccl_config config = {sizeof config, NCCL_CONFIG_MAGIC, NCCL_CONFIG_VERSION, .blocking = 0};
    struct nccl_id id = {{0}};
    int rc = comm_rank(d->comm) == 0 ? d->nccl.get_unique_id(&id) : NCCL_SUCCESS;
    if (rc != NCCL_SUCCESS)
        error_set(e, ERR_FAILED, "NCCL cannot begin: %s", d->nccl.get_error_string(rc));
    if (comm_agree(d->comm, rc != NCCL_SUCCESS, e) || comm_broadcast(d->comm, &id, sizeof id, 0, e))
        return -1;
    rc = d->nccl.comm_init_rank_config(&d->channel, comm_size(d->comm), id, comm_rank(d->comm), &config);
    return comm_device_settle(d, rc, "building NCCL's communicator", e);
}

// Elements for one rank's segment of a piece, parts of whole units included.
static size_t slot_size(int ranks)
{
    return ((size_t)PIECE / COMM_PART_UNIT + (size_t)ranks - 1) / (size_t)ranks * COMM_PART_UNIT;
}

static int create(struct comm_device *d, struct error *e)
{
    const struct backend_ops *op = d->backend->op;
    size_t ranks = (size_t)comm_size(d->comm);
    d->slot = slot_size((int)ranks);
    if (!(d->stream = op->stream_create_urgent(d->backend, e)) ||
        !(d->incoming = op->allocate(d->backend, ranks * d->slot * sizeof *d->incoming, e)) ||
        (d->way == WAY_BF16 && (!(d->rounded = op->allocate(d->backend, PIECE * sizeof *d->rounded, e)) ||
                                !(d->arrived = op->allocate(d->backend, ranks * d->slot * sizeof *d->arrived, e)))))
        return error_prefix(e, "sums of gradients");
    return 0;
}

// Is there a stream that NCCL could use?
static int has_streams(struct backend *b)
{
    struct stream *s = b->op->stream_create(b, NULL);
    int has = s && b->op->native_stream(s);
    if (s)
        b->op->stream_destroy(s);
    return has;
}

// The least of what the ranks want, and the first reason for having none.
static int agree_on_way(struct comm *c, enum way *way, struct error *why, struct error *e)
{
    int *all = xcalloc((size_t)comm_size(c), sizeof *all), mine = *way,
        rc = comm_all_gather(c, &mine, sizeof mine, all, e);
    for (int r = 0; r < comm_size(c) && !rc; r++)
        if (all[r] < (int)*way) {
            *way = all[r];
            error_set(why, ERR_NOT_FOUND, "rank %d on %s does without it", r, comm_host(c, r));
        }
    free(all);
    return rc;
}

int comm_device_open(struct comm *c, struct backend *b, struct comm_device **out, char note[COMM_DEVICE_NOTE],
                     struct error *e)
{
    struct comm_device *d = xcalloc(1, sizeof *d);
    struct error why = {ERR_NONE, "ISLR_NCCL=off"};
    char version[NCCL_VERSION_SIZE];
    *out = NULL;
    note[0] = 0;
    d->comm = c;
    d->backend = b;
    d->doing = "a sum of gradients";
    int rc = comm_size(c) == 1 || !has_streams(b);
    if (rc) {
        free(d);
        return 0;
    }
    rc = comm_agree(c, way_wanted(&d->way, e), e);
    if (!rc && d->way != WAY_OFF && nccl_library_load(&d->nccl, &why))
        d->way = WAY_OFF;
    if (rc || agree_on_way(c, &d->way, &why, e) || d->way == WAY_OFF) {
        snprintf(note, COMM_DEVICE_NOTE, "gradients travel through host memory: no NCCL: %.160s", why.text);
        rc = rc || d->way != WAY_OFF ? -1 : 0;
        free(d);
        return rc;
    }
    d->deadline = deadline_create();
    if (comm_agree(c, create(d, e), e) || comm_agree(c, connect_ranks(d, e), e)) {
        struct error first = *e;
        comm_device_close(d);
        return error_set(e, first.code, "%s (ISLR_NCCL=off does without NCCL, through host memory)", first.text);
    }
    snprintf(note, COMM_DEVICE_NOTE, "gradients travel by %s%s", nccl_library_version(&d->nccl, version),
             d->way == WAY_FAST   ? ", which adds them up in its own order"
             : d->way == WAY_BF16 ? " as bf16"
                                  : "");
    *out = d;
    return 0;
}

void comm_device_close(struct comm_device *d)
{
    if (!d)
        return;
    if (d->channel && d->failed.code == ERR_NONE) {
        struct error ignored;
        if (!comm_device_settle(d, d->nccl.comm_finalize(d->channel), "leaving NCCL's communicator", &ignored))
            d->nccl.comm_destroy(d->channel);
    } else {
        comm_device_abort(d);
    }
    void *const owned[] = {d->incoming, d->rounded, d->arrived};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        if (owned[i])
            d->backend->op->release(d->backend, owned[i]);
    if (d->stream)
        d->backend->op->stream_destroy(d->stream);
    deadline_destroy(d->deadline);
    free(d);
}

size_t comm_device_size(int ranks)
{
    size_t incoming = (size_t)ranks * slot_size(ranks);
    return ranks > 1 ? incoming * (sizeof(float) + sizeof(uint16_t)) + PIECE * sizeof(uint16_t) : 0;
}

int comm_device_library(char text[COMM_DEVICE_LIBRARY], struct error *e)
{
    struct nccl_library l;
    char version[NCCL_VERSION_SIZE];
    if (nccl_library_load(&l, e))
        return -1;
    snprintf(text, COMM_DEVICE_LIBRARY, "%s", nccl_library_version(&l, version) + strlen("NCCL "));
    return 0;
}

// Opens the device that a rank computes on: see device.h.
#include "core/train/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cores.h"
#include "core/base/hash.h"
#include "core/base/memory.h"
#include "core/train/recipe.h"
#include "kernels/cuda_open.h"

int device_threads(struct comm *comm, struct error *e)
{
    int ranks = comm_size(comm), me = comm_rank(comm);
    struct cores mine, *all = xcalloc((size_t)ranks, sizeof *all);
    size_t here = 0;
    cores_get(&mine);
    int rc = comm_all_gather(comm, &mine, sizeof mine, all, e);
    for (int r = 0; r < ranks && !rc; r++)
        if (!strcmp(comm_host(comm, r), comm_host(comm, me)))
            all[here++] = all[r];
    int threads = rc ? -1 : cores_share(&mine, all, here);
    free(all);
    return threads;
}

// This rank's number among those of its host that see the same cards, and how many these are.
static int card_number(struct comm *comm, int *sharing, struct error *e)
{
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    int ranks = comm_size(comm), me = comm_rank(comm), number = 0;
    struct hash mine = hash_memory(visible ? visible : "", visible ? strlen(visible) : 0);
    struct hash *all = xcalloc((size_t)ranks, sizeof *all);
    int rc = comm_all_gather(comm, &mine, sizeof mine, all, e);
    *sharing = 0;
    for (int r = 0; r < ranks && !rc; r++) {
        if (strcmp(comm_host(comm, r), comm_host(comm, me)) || !hash_equal(&all[r], &mine))
            continue;
        number += r < me;
        ++*sharing;
    }
    free(all);
    return rc ? -1 : number;
}

static struct backend *open_card(int number, int sharing, int cards, const char *host, struct error *e)
{
    if (cards < sharing) {
        error_set(
            e, ERR_INVALID,
            "%d ranks on %s see %d CUDA device%s: a rank needs a card of its own (start as many ranks as there are "
            "cards, or use --device cpu)",
            sharing, host, cards, cards == 1 ? "" : "s");
        return NULL;
    }
    return backend_cuda_open(number, e);
}

struct backend *device_open(const char *kind, int threads, struct comm *comm, struct error *e)
{
    int sharing, number = card_number(comm, &sharing, e), share = number < 0 ? -1 : device_threads(comm, e);
    if (share < 0)
        return NULL;
    if (strcmp(kind, "cpu")) {
        struct error none = {0};
        int cards = backend_cuda_count(&none), wanted = !strcmp(kind, "cuda");
        if (cards < 0 && wanted) {
            *e = none;
            return NULL;
        }
        if (wanted || cards >= sharing)
            return open_card(number, sharing, cards, comm_host(comm, comm_rank(comm)), e);
    }
    return backend_cpu_open(threads > 0 ? threads : share, e);
}

// What all ranks of a run must have in common.
struct common {
    char kind[16];
    char name[128];
    int type;
};

static int compare_ranks(const struct comm *comm, const struct common *all, struct error *e)
{
    for (int r = 1; r < comm_size(comm); r++) {
        if (strcmp(all[0].kind, all[r].kind))
            return error_set(e, ERR_INVALID,
                             "rank 0 on %s computes on %s (%s), rank %d on %s on %s (%s): a run's ranks must be of one "
                             "kind (--device cpu or --device cuda for all)",
                             comm_host(comm, 0), all[0].kind, all[0].name, r, comm_host(comm, r), all[r].kind,
                             all[r].name);
        if (all[0].type != all[r].type)
            return error_set(
                e, ERR_INVALID,
                "rank 0 on %s (%s) would train in %s, rank %d on %s (%s) in %s: set train.precision to one "
                "that all have",
                comm_host(comm, 0), all[0].name, dtype_name((enum dtype)all[0].type), r, comm_host(comm, r),
                all[r].name, dtype_name((enum dtype)all[r].type));
    }
    return 0;
}

int device_agree(struct comm *comm, struct backend *backend, enum dtype type, struct error *e)
{
    struct device_info info;
    struct common mine = {.type = type}, *all = xcalloc((size_t)comm_size(comm), sizeof *all);
    backend->op->describe(backend, &info);
    snprintf(mine.kind, sizeof mine.kind, "%s", backend->op->kind);
    memcpy(mine.name, info.name, sizeof mine.name);
    int rc = comm_all_gather(comm, &mine, sizeof mine, all, e) || compare_ranks(comm, all, e);
    free(all);
    return rc ? -1 : 0;
}

int device_check(struct backend *backend, struct error *e)
{
    struct stream *s = backend->op->stream_create(backend, e);
    if (!s)
        return -1;
    int rc = s->op->synchronize(s, e);
    s->op->stream_destroy(s);
    return rc;
}

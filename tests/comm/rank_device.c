// One rank that sums device memory over NCCL's stand-in and the host model of a card (tests/cudahost): test_device.sh
// launches it with what should go on, and reads what the ranks say and how they end.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/base/random.h"
#include "core/comm/comm_device.h"
#include "tests/kernels/device.h"

enum { COUNT = 70000, SUMS = 4 };

struct rank {
    struct comm *world;
    struct backend *backend;
    struct stream *stream;
    struct comm_device *device;
    float *data; // device [COUNT]
};

// Says what went wrong, and that nothing works from then on; leaves.
static void give_up(struct rank *r, const struct error *e, double began)
{
    struct error again;
    double later = clock_seconds();
    fprintf(stderr, "rank %d after %.0f s: %s\n", comm_rank(r->world), later - began, e->text);
    if (r->device && (comm_device_wait(r->device, r->stream, &again) == 0 || strcmp(again.text, e->text)))
        fprintf(stderr, "rank %d: the communicator is not broken\n", comm_rank(r->world));
    comm_device_close(r->device);
    if (clock_seconds() - later > comm_timeout(r->world) + 1)
        fprintf(stderr, "rank %d: giving up took too long\n", comm_rank(r->world));
    usleep(500000); // let the others say theirs
    comm_abort(r->world, e->code);
}

static float *values(int rank, size_t count, uint32_t seed)
{
    float *v = xcalloc(count, sizeof *v);
    struct rng rng = rng_make(31, RNG_BENCH, (uint32_t)rank, seed, 0);
    for (size_t i = 0; i < count; i++)
        v[i] = (float)rng_normal(&rng) * (i % 3 ? 1 : 1e4f);
    return v;
}

static float bf16_round(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
    memcpy(&x, &bits, sizeof x);
    return x;
}

// The sums are those of core/comm over host memory, to the bit; divided, those of its users. As bf16, contributions and
// results are rounded to it.
static int check_sums(struct rank *r, struct error *e)
{
    const size_t counts[] = {1, 5, 4099, ((size_t)4 << 20) + 3}; // the last one is more than one exchange takes
    const char *way = getenv("ISLR_NCCL");
    int rounded = way && !strcmp(way, "bf16");
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        size_t n = counts[k], size = n * sizeof(float);
        float *mine = values(comm_rank(r->world), n, (uint32_t)k), *got = xcalloc(n, sizeof *got);
        float *device = r->backend->op->allocate(r->backend, size, e), divisor = k % 2 ? 3 : 1;
        if (!device)
            return -1;
        r->stream->op->upload(r->stream, device, mine, size);
        comm_device_sum(r->device, r->stream, device, n, divisor);
        comm_device_join(r->device, r->stream);
        r->stream->op->download(r->stream, got, device, size);
        for (size_t i = 0; i < n && rounded; i++)
            mine[i] = bf16_round(mine[i]);
        if (comm_device_wait(r->device, r->stream, e) || r->stream->op->synchronize(r->stream, e) ||
            comm_sum_f32(r->world, mine, n, e))
            return -1;
        for (size_t i = 0; i < n; i++) {
            float want = rounded ? bf16_round(mine[i] / divisor) : mine[i] / divisor;
            if (got[i] != want)
                return error_set(e, ERR_FAILED, "element %zu of %zu is %.9g, not %.9g", i, n, (double)got[i],
                                 (double)want);
        }
        r->backend->op->release(r->backend, device);
        free(mine);
        free(got);
    }
    return 0;
}

// Sums of which each rank gets its part, and the gathering of these, several at once: what whole sums would have given.
static int check_parts(struct rank *r, struct error *e)
{
    const size_t counts[] = {5, COMM_PART_UNIT * 6, COMM_PART_UNIT * 7 + 3, COUNT};
    enum { PARTS = sizeof counts / sizeof *counts };
    struct comm_part parts[PARTS];
    float *whole[PARTS];
    for (size_t k = 0; k < PARTS; k++) {
        size_t n = counts[k], size = n * sizeof(float);
        float *mine = values(comm_rank(r->world), n, (uint32_t)(10 + k));
        float *device = r->backend->op->allocate(r->backend, size, e);
        if (!device || !(whole[k] = r->backend->op->allocate(r->backend, size, e)))
            return -1;
        r->stream->op->upload(r->stream, device, mine, size);
        r->stream->op->upload(r->stream, whole[k], mine, size);
        comm_device_sum(r->device, r->stream, whole[k], n, 1);
        comm_device_reduce_scatter(r->device, r->stream, device, n);
        parts[k] = (struct comm_part){device, size, COMM_PART_UNIT * sizeof(float)};
        free(mine);
    }
    comm_device_all_gather(r->device, r->stream, parts, PARTS);
    comm_device_join(r->device, r->stream);
    for (size_t k = 0; k < PARTS; k++) {
        float *got = xcalloc(counts[k], sizeof *got), *want = xcalloc(counts[k], sizeof *want);
        r->stream->op->download(r->stream, got, parts[k].data, parts[k].size);
        r->stream->op->download(r->stream, want, whole[k], parts[k].size);
        if (comm_device_wait(r->device, r->stream, e) || r->stream->op->synchronize(r->stream, e))
            return -1;
        for (size_t i = 0; i < counts[k]; i++)
            if (got[i] != want[i])
                return error_set(e, ERR_FAILED, "element %zu of %zu in parts is %.9g, not %.9g", i, counts[k],
                                 (double)got[i], (double)want[i]);
        r->backend->op->release(r->backend, parts[k].data);
        r->backend->op->release(r->backend, whole[k]);
        free(got);
        free(want);
    }
    return 0;
}

static int check_all(struct rank *r, struct error *e)
{
    const char *way = getenv("ISLR_NCCL");
    int fast = way && !strcmp(way, "fast"); // its sums have an order of their own: the same in both
    if ((!fast && check_sums(r, e)) || check_parts(r, e))
        return -1;
    printf("rank %d: all sums are right\n", comm_rank(r->world));
    return 0;
}

// A sum that is recorded and replayed.
static int sum_by_replay(struct rank *r, struct error *e)
{
    const struct backend_ops *op = r->stream->op;
    if (op->record_begin(r->stream, e))
        return -1;
    comm_device_sum(r->device, r->stream, r->data, COUNT, 1);
    comm_device_join(r->device, r->stream);
    struct recording *recording = op->record_end(r->stream, e);
    if (!recording)
        return -1;
    op->replay(r->stream, recording);
    op->recording_destroy(recording); // what is queued of it stays
    return 0;
}

// Sums in a row, or the gathering of parts; the last rank leaves out the third one as `what` says, or replays it
// ("uneven").
static int sum_in_a_row(struct rank *r, const char *what, struct error *e)
{
    int last = comm_rank(r->world) == comm_size(r->world) - 1;
    const char *fault = strncmp(what, "gather-", 7) ? what : what + 7;
    for (int i = 1; i <= SUMS; i++) {
        if (last && i == 3 && !strcmp(fault, "stay-away"))
            pause();
        if (last && i == 3 && !strcmp(fault, "die"))
            abort();
        if (last && i == 3 && !strcmp(fault, "skip"))
            continue;
        if (i == 3 && (!strcmp(what, "replay") || (last && !strcmp(what, "uneven")))) {
            if (sum_by_replay(r, e))
                return -1;
            continue;
        }
        if (!strncmp(what, "gather", 6))
            comm_device_all_gather(r->device, r->stream, &(struct comm_part){r->data, COUNT * sizeof(float), 4096}, 1);
        else
            comm_device_sum(r->device, r->stream, r->data, COUNT, 1);
        comm_device_join(r->device, r->stream);
    }
    return comm_device_wait(r->device, r->stream, e);
}

int main(int argc, char **argv)
{
    struct error e = {0};
    char note[COMM_DEVICE_NOTE];
    struct rank r = {.world = comm_open_world(&e)};
    const char *what = argc > 1 ? argv[1] : "sums";
    if (!r.world || !(r.backend = test_device_open(1, &e)) ||
        !(r.stream = r.backend->op->stream_create(r.backend, &e)) ||
        !(r.data = r.backend->op->allocate(r.backend, COUNT * sizeof *r.data, &e))) {
        fprintf(stderr, "%s\n", e.text);
        return 2;
    }
    double began = clock_seconds();
    if (!strcmp(what, "never-open") && comm_rank(r.world) == comm_size(r.world) - 1)
        pause();
    if (comm_device_open(r.world, r.backend, &r.device, note, &e))
        give_up(&r, &e, began);
    if (comm_rank(r.world) == 0)
        printf("%s\n", note);
    if (r.device && (!strcmp(what, "sums") ? check_all(&r, &e) : sum_in_a_row(&r, what, &e)))
        give_up(&r, &e, began);
    comm_device_close(r.device);
    r.backend->op->release(r.backend, r.data);
    r.stream->op->stream_destroy(r.stream);
    r.backend->op->close(r.backend);
    comm_close(r.world);
    return 0;
}

// The CUDA backend: device, memory, streams, errors and the table of operations. Operations: the other files.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/staging.h"

// Scratch memory that a larger one replaced.
struct scratch_block {
    struct scratch_block *next;
    void *memory;
};

enum { SCRATCH_LEAST = 1 << 20 };

// ---- failures -----------------------------------------------------------------------------------------------------

void cuda_fail(struct stream *s, const struct error *e)
{
    struct cuda_stream *c = (struct cuda_stream *)s;
    if (c->failed.code == ERR_NONE)
        c->failed = *e;
    if (c->recorded && c->recorded->failed.code == ERR_NONE)
        c->recorded->failed = *e; // what came first is what the recording failed of
}

int cuda_error(struct error *e, const struct cuda_backend *b, cudaError_t rc, const char *what)
{
    return error_set(e, ERR_FAILED, "CUDA device %d (%s): %s: %s", b->device, b->name, what, cudaGetErrorString(rc));
}

cudaError_t cuda_check(struct stream *s, cudaError_t rc, const char *what)
{
    if (rc != cudaSuccess) {
        struct error e;
        cudaGetLastError(); // kept here now: it is not that of what is launched next
        cuda_error(&e, cuda_of(s), rc, what);
        cuda_fail(s, &e);
    }
    return rc;
}

// The calling thread's device is the backend's. (Cheap where it is already.)
static void enter(struct backend *b)
{
    cudaSetDevice(((struct cuda_backend *)b)->device);
}

// ---- memory -------------------------------------------------------------------------------------------------------

static void watch_memory(struct cuda_backend *b, struct device_info *info)
{
    if (cudaMemGetInfo(&info->memory_free, &info->memory_total) == cudaSuccess && info->memory_free < b->free_least)
        b->free_least = info->memory_free;
    info->memory_peak = b->free_first - b->free_least;
}

static void *obtain(struct cuda_backend *b, size_t size, struct error *e)
{
    void *p = NULL;
    struct device_info info;
    cudaError_t rc = cudaMalloc(&p, size ? size : 1);
    if (rc == cudaSuccess) {
        watch_memory(b, &info);
        return p;
    }
    cudaGetLastError(); // this one does no harm to what follows
    size_t available = 0, total = 0;
    if (rc == cudaErrorMemoryAllocation && !cudaMemGetInfo(&available, &total))
        error_set(e, ERR_FAILED,
                  "out of memory on CUDA device %d (%s): %zu MiB more are needed, %zu of its %zu MiB are free",
                  b->device, b->name, (size >> 20) + 1, available >> 20, total >> 20);
    else
        cuda_error(e, b, rc, "memory");
    return NULL;
}

static void *allocate(struct backend *base, size_t size, struct error *e)
{
    struct cuda_backend *b = (struct cuda_backend *)base;
    enter(base);
    void *p = obtain(b, size, e);
    if (!p)
        return NULL;
    b->base.op->zero(b->own, p, size);
    if (!b->base.op->synchronize(b->own, e))
        return p;
    cudaFree(p);
    return NULL;
}

static void release(struct backend *b, void *p)
{
    enter(b);
    cudaFree(p); // waits for the device
}

static const void *share(struct backend *b, const void *host, size_t size)
{
    (void)b, (void)host, (void)size;
    return NULL; // the device wants its own copy
}

static void *host_address(struct backend *b, void *device)
{
    (void)b, (void)device;
    return NULL;
}

void *cuda_scratch(struct stream *s, size_t size)
{
    struct cuda_stream *c = (struct cuda_stream *)s;
    if (c->scratch_size >= size)
        return c->scratch;
    struct error e;
    size_t room = 2 * c->scratch_size > size ? 2 * c->scratch_size : size;
    void *p = obtain(cuda_of(s), room < SCRATCH_LEAST ? SCRATCH_LEAST : room, &e);
    if (!p) {
        error_prefix(&e, "scratch memory of an operation");
        cuda_fail(s, &e);
        return NULL;
    }
    if (c->scratch) {
        struct scratch_block *old = xmalloc(sizeof *old);
        *old = (struct scratch_block){c->outgrown, c->scratch};
        c->outgrown = old;
    }
    c->scratch = p;
    c->scratch_size = room < SCRATCH_LEAST ? SCRATCH_LEAST : room;
    return p;
}

// ---- streams ------------------------------------------------------------------------------------------------------

static void stream_destroy(struct stream *s)
{
    if (!s)
        return;
    struct cuda_stream *c = (struct cuda_stream *)s;
    enter(s->backend);
    if (c->cuda)
        cudaStreamSynchronize(c->cuda);
    staging_destroy(c->staging);
    while (c->outgrown) {
        struct scratch_block *old = c->outgrown;
        c->outgrown = old->next;
        cudaFree(old->memory);
        free(old);
    }
    cudaFree(c->scratch);
    cudaFree(c->workspace);
    if (c->mark)
        cudaEventDestroy(c->mark);
    if (c->cuda)
        cudaStreamDestroy(c->cuda);
    free(c);
}

static struct stream *create_stream(struct backend *b, int priority, struct error *e)
{
    struct cuda_stream *c = xcalloc(1, sizeof *c);
    c->base.op = b->op;
    c->base.backend = b;
    enter(b);
    cudaError_t rc = cudaStreamCreateWithPriority(&c->cuda, cudaStreamNonBlocking, priority);
    if (!rc)
        rc = cudaEventCreateWithFlags(&c->mark, cudaEventDisableTiming);
    if (!rc)
        return &c->base;
    cuda_error(e, (struct cuda_backend *)b, rc, "create a stream");
    stream_destroy(&c->base);
    return NULL;
}

static struct stream *stream_create(struct backend *b, struct error *e)
{
    return create_stream(b, 0, e);
}

static struct stream *stream_create_urgent(struct backend *b, struct error *e)
{
    int least = 0, greatest = 0;
    enter(b);
    cudaError_t rc = cudaDeviceGetStreamPriorityRange(&least, &greatest);
    if (!rc)
        return create_stream(b, greatest, e);
    cuda_error(e, (struct cuda_backend *)b, rc, "priorities of streams");
    return NULL;
}

// What a failure of queued work is called. CUDA does not say which kernel it was; a blocking launch does.
static const char *name_of_work(const struct cuda_stream *c)
{
    return c->replayed ? "the work queued on it failed, in or behind a step that was replayed (ISLR_RECORD=off and "
                         "CUDA_LAUNCH_BLOCKING=1 in the environment name the kernel)"
                       : "the work queued on it failed (CUDA_LAUNCH_BLOCKING=1 in the environment names the kernel)";
}

static int synchronize(struct stream *s, struct error *e)
{
    struct cuda_stream *c = (struct cuda_stream *)s;
    enter(s->backend);
    cudaError_t rc = cuda_check(s, cudaStreamSynchronize(c->cuda), name_of_work(c));
    staging_deliver(s, rc != cudaSuccess);
    c->replayed = 0;
    if (cuda_ok(s))
        return 0;
    if (e)
        *e = c->failed;
    if (!c->recorded) // else the recording fails of it
        c->failed.code = ERR_NONE;
    return -1;
}

static int poll_stream(struct stream *s, struct error *e)
{
    struct cuda_stream *c = (struct cuda_stream *)s;
    enter(s->backend);
    cudaError_t rc = cudaStreamQuery(c->cuda);
    if (rc == cudaErrorNotReady) {
        cudaGetLastError(); // no failure
        return 0;
    }
    cuda_check(s, rc, name_of_work(c));
    if (cuda_ok(s))
        return 1;
    *e = c->failed; // kept: synchronize reports it too
    return -1;
}

static void *native_stream(struct stream *s)
{
    return cuda_stream_of(s);
}

static void order(struct stream *earlier, struct stream *later)
{
    struct cuda_stream *c = (struct cuda_stream *)earlier;
    enter(earlier->backend);
    cuda_record_follow(earlier, later);
    if (!cuda_check(later, cudaEventRecord(c->mark, c->cuda), "mark a stream"))
        cuda_check(later, cudaStreamWaitEvent(cuda_stream_of(later), c->mark, 0), "let a stream wait");
}

static void forget(struct backend *b)
{
    (void)b; // nothing is packed
}

static void upload(struct stream *s, void *device, const void *host, size_t size)
{
    enter(s->backend);
    if (cuda_record_allows(s, "an upload"))
        staging_upload(s, device, host, size);
}

static void download(struct stream *s, void *host, const void *device, size_t size)
{
    enter(s->backend);
    if (cuda_record_allows(s, "a download"))
        staging_download(s, host, device, size);
}

static void copy(struct stream *s, void *to, const void *from, size_t size)
{
    enter(s->backend);
    if (size)
        cuda_check(s, cudaMemcpyAsync(to, from, size, cudaMemcpyDeviceToDevice, cuda_stream_of(s)), "copy");
}

static void zero(struct stream *s, void *p, size_t size)
{
    enter(s->backend);
    if (size)
        cuda_check(s, cudaMemsetAsync(p, 0, size, cuda_stream_of(s)), "zero");
}

// ---- the table ----------------------------------------------------------------------------------------------------

#define CUDA_RUN(name)                                                                                                 \
    static void run_##name(struct stream *s, const struct name *a)                                                     \
    {                                                                                                                  \
        enter(s->backend);                                                                                             \
        cuda_##name(s, a);                                                                                             \
    }
BACKEND_OPERATIONS(CUDA_RUN)

static void close_backend(struct backend *base)
{
    struct cuda_backend *b = (struct cuda_backend *)base;
    stream_destroy(b->own);
    cuda_gemm_destroy(b->gemm);
    free(b);
}

static void describe(struct backend *base, struct device_info *info)
{
    struct cuda_backend *b = (struct cuda_backend *)base;
    int runtime = 0, driver = 0;
    char library[64];
    memset(info, 0, sizeof *info);
    enter(base);
    watch_memory(b, info);
    cudaRuntimeGetVersion(&runtime);
    cudaDriverGetVersion(&driver);
    snprintf(info->name, sizeof info->name, "%s", b->name);
    info->threads = b->multiprocessors;
    info->has_bf16 = b->code >= 80;
    snprintf(info->detail, sizeof info->detail, "compute capability %d.%d, CUDA %d.%d (driver: %d.%d), %s", b->major,
             b->minor, runtime / 1000, runtime % 1000 / 10, driver / 1000, driver % 1000 / 10,
             cuda_gemm_library(library, sizeof library));
}

static void fill_table(struct backend_ops *op)
{
#define CUDA_ENTRY(name) .name = run_##name,
    *op = (struct backend_ops){.kind = "cuda",
                               .close = close_backend,
                               .describe = describe,
                               .allocate = allocate,
                               .release = release,
                               .share = share,
                               .host_address = host_address,
                               .stream_create = stream_create,
                               .stream_create_urgent = stream_create_urgent,
                               .stream_destroy = stream_destroy,
                               .synchronize = synchronize,
                               .poll = poll_stream,
                               .order = order,
                               .native_stream = native_stream,
                               .forget = forget,
                               .record_begin = cuda_record_begin,
                               .record_end = cuda_record_end,
                               .record_stands = cuda_record_stands,
                               .replay = cuda_replay,
                               .recording_destroy = cuda_recording_destroy,
                               .upload = upload,
                               .download = download,
                               .copy = copy,
                               .zero = zero,
                               BACKEND_OPERATIONS(CUDA_ENTRY)};
#undef CUDA_ENTRY
}

int cuda_backend_count(struct error *e)
{
    int count = 0, driver = 0;
    cudaError_t rc = cudaGetDeviceCount(&count);
    if (rc == cudaSuccess && count > 0)
        return count;
    if (cudaDriverGetVersion(&driver) == cudaSuccess && driver == 0)
        return error_set(e, ERR_FAILED, "no CUDA device: this machine has no NVIDIA driver (libcuda.so.1)");
    return error_set(e, ERR_FAILED, "no CUDA device: %s", rc ? cudaGetErrorString(rc) : "the driver shows none");
}

// Fills name and numbers of b->device.
static int find_device(struct cuda_backend *b, struct error *e)
{
    struct cudaDeviceProp p;
    int count = cuda_backend_count(e);
    if (count < 0)
        return -1;
    if (b->device < 0 || b->device >= count)
        return error_set(e, ERR_FAILED, "CUDA device %d does not exist: there %s %d (CUDA_VISIBLE_DEVICES counts)",
                         b->device, count == 1 ? "is" : "are", count);
    cudaError_t rc = cudaGetDeviceProperties(&p, b->device);
    if (rc)
        return error_set(e, ERR_FAILED, "CUDA device %d cannot be used: %s", b->device, cudaGetErrorString(rc));
    snprintf(b->name, sizeof b->name, "%.*s", (int)sizeof b->name - 1, p.name);
    rc = cudaSetDevice(b->device);
    if (rc)
        return error_set(e, ERR_FAILED, "CUDA device %d (%s) cannot be used: %s", b->device, b->name,
                         cudaGetErrorString(rc));
    size_t total;
    rc = cudaMemGetInfo(&b->free_first, &total);
    if (rc)
        return cuda_error(e, b, rc, "memory");
    b->free_least = b->free_first;
    b->major = p.major;
    b->minor = p.minor;
    b->multiprocessors = p.multiProcessorCount;
    if (b->major * 10 + b->minor < 75)
        return error_set(e, ERR_FAILED, "CUDA device %d (%s) is of compute capability %d.%d: 7.5 or newer is needed",
                         b->device, b->name, b->major, b->minor);
    rc = cuda_code_version(&b->code);
    if (rc) {
        cudaGetLastError();
        return error_set(e, ERR_FAILED,
                         "CUDA device %d (%s) is of compute capability %d.%d, for which this build has no code "
                         "(-Dgpu_architectures): %s",
                         b->device, b->name, b->major, b->minor, cudaGetErrorString(rc));
    }
    return 0;
}

struct backend *cuda_backend_open(int device, struct error *e)
{
    struct cuda_backend *b = xcalloc(1, sizeof *b);
    b->device = device;
    b->base.op = &b->ops;
    fill_table(&b->ops);
    if (!find_device(b, e) && (b->own = stream_create(&b->base, e)) && (b->gemm = cuda_gemm_create(b->major, e)))
        return &b->base;
    close_backend(&b->base);
    return NULL;
}

// The CPU backend: memory, streams (which run at once). Operations: the other files.
#include "kernels/cpu/cpu.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/base/parallel.h"
#include "kernels/cpu/choose_isa.h"
#include "kernels/cpu/gemm.h"

// ---- memory -------------------------------------------------------------------------------------------------------

enum { HUGE_PAGE = 2 << 20 };

// Aligned memory or NULL; large blocks are put on huge pages, which matrix products like.
static void *obtain(size_t size)
{
    size_t alignment = size >= HUGE_PAGE ? HUGE_PAGE : 64;
    void *p = NULL;
    if (posix_memalign(&p, alignment, size ? size : 1))
        return NULL;
    if (alignment == HUGE_PAGE)
        madvise(p, size, MADV_HUGEPAGE); // a hint
    return p;
}

static void *allocate(struct backend *b, size_t size, struct error *e)
{
    (void)b;
    void *p = obtain(size);
    if (!p) {
        error_set(e, ERR_FAILED, "out of memory: %zu MiB on the CPU", size >> 20);
        return NULL;
    }
    memset(p, 0, size);
    return p;
}

static void release(struct backend *b, void *p)
{
    (void)b;
    free(p);
}

void *cpu_scratch(struct stream *s, size_t size)
{
    struct cpu_stream *c = (struct cpu_stream *)s;
    if (c->scratch_size < size) {
        free(c->scratch);
        c->scratch = obtain(size);
        if (!c->scratch) {
            fprintf(stderr, "out of memory: %zu MiB of scratch\n", size >> 20);
            abort();
        }
        c->scratch_size = size;
    }
    return c->scratch;
}

// ---- streams ------------------------------------------------------------------------------------------------------

static const void *share(struct backend *b, const void *host, size_t size)
{
    (void)b, (void)size;
    return host;
}

static void *host_address(struct backend *b, void *device)
{
    (void)b;
    return device;
}

static struct stream *stream_create(struct backend *b, struct error *e)
{
    (void)e;
    struct cpu_stream *s = xcalloc(1, sizeof *s);
    s->base.op = b->op;
    s->base.backend = b;
    return &s->base;
}

static void stream_destroy(struct stream *s)
{
    if (!s)
        return;
    free(((struct cpu_stream *)s)->scratch);
    free(s);
}

void cpu_fail(struct stream *s, const struct error *e)
{
    struct cpu_stream *c = (struct cpu_stream *)s;
    if (c->failed.code == ERR_NONE)
        c->failed = *e;
}

static int synchronize(struct stream *s, struct error *e)
{
    struct cpu_stream *c = (struct cpu_stream *)s;
    if (c->failed.code == ERR_NONE)
        return 0;
    if (e)
        *e = c->failed;
    c->failed.code = ERR_NONE;
    return -1;
}

static int poll_stream(struct stream *s, struct error *e)
{
    return synchronize(s, e) ? -1 : 1;
}

static void *native_stream(struct stream *s)
{
    (void)s;
    return NULL;
}

static void order(struct stream *earlier, struct stream *later)
{
    (void)earlier, (void)later;
}

static void move(struct stream *s, void *to, const void *from, size_t size)
{
    (void)s;
    if (size)
        memmove(to, from, size);
}

static void zero(struct stream *s, void *p, size_t size)
{
    (void)s;
    if (size)
        memset(p, 0, size);
}

// ---- backend ------------------------------------------------------------------------------------------------------

// The processor's name as the kernel prints it; not all architectures' kernels do.
static void read_processor_name(char *name, size_t size)
{
    struct utsname machine;
    snprintf(name, size, "%s processor", uname(&machine) ? "unknown" : machine.machine);
    FILE *f = fopen("/proc/cpuinfo", "r");
    if (!f)
        return;
    char line[512];
    while (fgets(line, sizeof line, f)) {
        char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) || !value)
            continue;
        value += strspn(value, ": \t");
        value[strcspn(value, "\n")] = 0;
        snprintf(name, size, "%s", value);
        break;
    }
    fclose(f);
}

static void describe(struct backend *b, struct device_info *info)
{
    struct cpu_backend *cpu = (struct cpu_backend *)b;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    *info = (struct device_info){.threads = cpu->threads};
    read_processor_name(info->name, sizeof info->name);
    info->memory_total = (size_t)sysconf(_SC_PHYS_PAGES) * page;
    info->memory_free = (size_t)sysconf(_SC_AVPHYS_PAGES) * page;
    info->has_bf16 = cpu->native_bf16;
    char library[32];
    snprintf(info->detail, sizeof info->detail, "instruction set %s, %s", cpu->isa, gemm_library(library));
}

static void forget(struct backend *b)
{
    gemm_forget(((struct cpu_backend *)b)->gemm);
}

static void close_backend(struct backend *b)
{
    gemm_destroy(((struct cpu_backend *)b)->gemm);
    free(b);
}

struct backend *backend_cpu_open(int threads, struct error *e)
{
    const struct cpu_isa *isa = cpu_choose_isa(e);
    if (!isa)
        return NULL;
    struct cpu_backend *b = xcalloc(1, sizeof *b);
    b->isa = isa->name;
    b->native_bf16 = isa->has_bf16 && gemm_bf16() >= (cpu_wanted_isa() ? GEMM_BF16_SLOW : GEMM_BF16_FAST);
    b->threads = threads > 0 ? threads : parallel_cores();
    if (b->threads > omp_get_thread_limit()) // $OMP_THREAD_LIMIT
        b->threads = omp_get_thread_limit();
    b->ops = (struct backend_ops){
        .kind = "cpu",
        .close = close_backend,
        .describe = describe,
        .allocate = allocate,
        .release = release,
        .share = share,
        .host_address = host_address,
        .stream_create = stream_create,
        .stream_create_urgent = stream_create, // nothing is ever waiting
        .stream_destroy = stream_destroy,
        .synchronize = synchronize,
        .poll = poll_stream,
        .order = order,
        .native_stream = native_stream,
        .forget = forget,
        .upload = move,
        .download = move,
        .copy = move,
        .zero = zero,
    };
    isa->fill(&b->ops);
    b->gemm = gemm_create(b->threads, e);
    if (!b->gemm) {
        free(b);
        return NULL;
    }
    b->base.op = &b->ops;
    return &b->base;
}

// Matrix products over oneDNN's matmul: see gemm.h.
#include "kernels/cpu/gemm.h"

#include <assert.h>
#include <omp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"
#include "core/base/memory.h"
#include "kernels/cpu/onednn.h"

// Everything a primitive depends on; compared as bytes, so all members are of one size.
struct shape {
    int m, n, k, type, c_type, has_bias, accumulate, constant;
    int a_stride, a_transposed, b_stride, b_transposed, c_stride;
};

// A primitive takes some 40 KiB, and half a millisecond to make.
enum { PRODUCTS_MOST = 2048, BUCKETS = 1024 };

struct product {
    struct shape shape;
    dnnl_primitive_t primitive;
    struct onednn_desc packed; // b's layout, if constant
    dnnl_memory_t a, b, c, bias, scratchpad;
    size_t scratchpad_size;
    struct product *next;          // in its bucket
    struct product *newer, *older; // order of use
};

// A packed copy of a constant matrix.
struct packed {
    const void *source;
    int k, n, stride, transposed;
    struct onednn_desc layout;
    void *data;
    struct packed *next;
};

struct gemm {
    pthread_mutex_t lock;
    int threads;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    struct product *bucket[BUCKETS];
    struct product *newest, *oldest;
    int products;
    struct packed *packed;
    void *scratchpad;
    size_t scratchpad_size;
};

static int fail(struct error *e, const char *what, dnnl_status_t rc)
{
    const char *reason = rc == dnnl_out_of_memory       ? "out of memory"
                         : rc == dnnl_unimplemented     ? "not implemented on this processor"
                         : rc == dnnl_invalid_arguments ? "invalid arguments"
                                                        : "runtime error";
    return error_set(e, ERR_FAILED, "oneDNN: %s: %s (status %d)", what, reason, (int)rc);
}

const char *gemm_library(char text[32])
{
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, 32, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
    return text;
}

enum gemm_bf16 gemm_bf16(void)
{
#if defined(__x86_64__)
    int isa = (int)dnnl_get_effective_cpu_isa();
    if ((isa & dnnl_cpu_isa_avx512_core_bf16) != dnnl_cpu_isa_avx512_core_bf16)
        return GEMM_BF16_NONE;
    __builtin_cpu_init();
    return (isa & dnnl_cpu_isa_avx512_core_amx) == dnnl_cpu_isa_avx512_core_amx || __builtin_cpu_is("amd")
               ? GEMM_BF16_FAST
               : GEMM_BF16_SLOW;
#else
    return GEMM_BF16_NONE; // the same bits name other instructions there
#endif
}

struct gemm *gemm_create(int threads, struct error *e)
{
    struct gemm *g = xcalloc(1, sizeof *g);
    pthread_mutex_init(&g->lock, NULL);
    g->threads = threads;
    dnnl_status_t rc = dnnl_engine_create(&g->engine, dnnl_cpu, 0);
    if (!rc)
        rc = dnnl_stream_create(&g->stream, g->engine, dnnl_stream_default_flags);
    if (rc) {
        fail(e, "cannot open the CPU engine", rc);
        gemm_destroy(g);
        return NULL;
    }
    return g;
}

// ---- products -----------------------------------------------------------------------------------------------------

static void product_free(struct product *p)
{
    dnnl_memory_t memories[] = {p->a, p->b, p->c, p->bias, p->scratchpad};
    for (size_t i = 0; i < sizeof memories / sizeof *memories; i++)
        if (memories[i])
            dnnl_memory_destroy(memories[i]);
    if (p->primitive)
        dnnl_primitive_destroy(p->primitive);
    onednn_desc_free(&p->packed);
    free(p);
}

static struct product **bucket_of(struct gemm *g, const struct shape *shape)
{
    const int *v = (const int *)shape;
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < sizeof *shape / sizeof *v; i++)
        h = (h ^ (uint32_t)v[i]) * 16777619u;
    return &g->bucket[(h ^ h >> 16) % BUCKETS];
}

static void unlink_use(struct gemm *g, struct product *p)
{
    *(p->newer ? &p->newer->older : &g->newest) = p->older;
    *(p->older ? &p->older->newer : &g->oldest) = p->newer;
}

static void link_newest(struct gemm *g, struct product *p)
{
    p->newer = NULL;
    p->older = g->newest;
    *(g->newest ? &g->newest->newer : &g->oldest) = p;
    g->newest = p;
}

static void evict_oldest(struct gemm *g)
{
    struct product *p = g->oldest, **at = bucket_of(g, &p->shape);
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    unlink_use(g, p);
    product_free(p);
    g->products--;
}

static dnnl_data_type_t onednn_type(int type)
{
    return type == DTYPE_F32 ? dnnl_f32 : dnnl_bf16;
}

struct descriptions {
    struct onednn_desc a, b, c, bias;
};

static dnnl_status_t describe_operands(struct descriptions *d, const struct shape *s)
{
    dnnl_data_type_t type = onednn_type(s->type);
    dnnl_status_t rc =
        onednn_desc_make(&d->a, s->m, s->k, type, s->a_transposed ? 1 : s->a_stride, s->a_transposed ? s->a_stride : 1);
    if (!rc && s->constant)
        rc = onednn_desc_make(&d->b, s->k, s->n, type, 0, 0);
    else if (!rc)
        rc = onednn_desc_make(&d->b, s->k, s->n, type, s->b_transposed ? 1 : s->b_stride,
                              s->b_transposed ? s->b_stride : 1);
    if (!rc)
        rc = onednn_desc_make(&d->c, s->m, s->n, onednn_type(s->c_type), s->c_stride, 1);
    if (!rc && s->has_bias)
        rc = onednn_desc_make(&d->bias, 1, s->n, type, s->n, 1);
    return rc;
}

static dnnl_status_t make_attributes(dnnl_primitive_attr_t *attributes, const struct shape *s)
{
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t rc = dnnl_primitive_attr_create(attributes);
    if (!rc)
        rc = dnnl_primitive_attr_set_scratchpad_mode(*attributes, dnnl_scratchpad_mode_user);
    if (!rc && s->accumulate)
        rc = dnnl_post_ops_create(&ops);
    if (!rc && s->accumulate)
        rc = onednn_append_sum(ops);
    if (!rc && s->accumulate)
        rc = dnnl_primitive_attr_set_post_ops(*attributes, ops);
    if (ops)
        dnnl_post_ops_destroy(ops);
    return rc;
}

// The memory objects of a product; where they point is set at each run.
static dnnl_status_t make_memories(struct gemm *g, struct product *p, const struct descriptions *d,
                                   const_dnnl_primitive_desc_t pd)
{
    onednn_desc_ref scratchpad = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    dnnl_status_t rc = dnnl_memory_create(&p->a, onednn_ref(&d->a), g->engine, DNNL_MEMORY_NONE);
    if (!rc && p->shape.constant)
        rc = onednn_desc_copy(&p->packed, dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0));
    if (!rc)
        rc = dnnl_memory_create(&p->b, onednn_ref(p->shape.constant ? &p->packed : &d->b), g->engine, DNNL_MEMORY_NONE);
    if (!rc)
        rc = dnnl_memory_create(&p->c, onednn_ref(&d->c), g->engine, DNNL_MEMORY_NONE);
    if (!rc && p->shape.has_bias)
        rc = dnnl_memory_create(&p->bias, onednn_ref(&d->bias), g->engine, DNNL_MEMORY_NONE);
    p->scratchpad_size = scratchpad ? dnnl_memory_desc_get_size(scratchpad) : 0;
    if (!rc && p->scratchpad_size)
        rc = dnnl_memory_create(&p->scratchpad, scratchpad, g->engine, DNNL_MEMORY_NONE);
    return rc;
}

static struct product *product_make(struct gemm *g, const struct shape *shape, struct error *e)
{
    struct product *p = xcalloc(1, sizeof *p);
    struct descriptions d = {0};
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t pd = NULL;
    p->shape = *shape;
    dnnl_status_t rc = describe_operands(&d, shape);
    if (!rc)
        rc = make_attributes(&attributes, shape);
    if (!rc)
        rc = onednn_matmul(&pd, g->engine, onednn_ref(&d.a), onednn_ref(&d.b), onednn_ref(&d.bias), onednn_ref(&d.c),
                           attributes);
    if (!rc)
        rc = make_memories(g, p, &d, pd);
    if (!rc)
        rc = dnnl_primitive_create(&p->primitive, pd);
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    if (attributes)
        dnnl_primitive_attr_destroy(attributes);
    struct onednn_desc *owned[] = {&d.a, &d.b, &d.c, &d.bias};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        onednn_desc_free(owned[i]);
    if (!rc)
        return p;
    product_free(p);
    char what[120];
    snprintf(what, sizeof what, "product [%d,%d] x [%d,%d] of %s", shape->m, shape->k, shape->k, shape->n,
             shape->type == DTYPE_F32 ? "fp32" : "bf16");
    fail(e, what, rc);
    return NULL;
}

static struct product *product_of(struct gemm *g, const struct shape *shape, struct error *e)
{
    struct product **bucket = bucket_of(g, shape), *p = *bucket;
    while (p && memcmp(&p->shape, shape, sizeof *shape))
        p = p->next;
    if (p) {
        unlink_use(g, p);
        link_newest(g, p);
        return p;
    }
    p = product_make(g, shape, e);
    if (!p)
        return NULL;
    if (g->products >= PRODUCTS_MOST)
        evict_oldest(g);
    p->next = *bucket;
    *bucket = p;
    link_newest(g, p);
    g->products++;
    return p;
}

// ---- constant matrices --------------------------------------------------------------------------------------------

static void packed_free(struct packed *p)
{
    onednn_desc_free(&p->layout);
    free(p->data);
    free(p);
}

// Fills p->data from the plain matrix.
static dnnl_status_t reorder(struct gemm *g, struct packed *p, const struct gemm_product *a)
{
    struct onednn_desc plain = {0};
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_memory_t from = NULL, to = NULL;
    dnnl_status_t rc = onednn_desc_make(&plain, a->k, a->n, onednn_type(a->type), a->b.transposed ? 1 : a->b.stride,
                                        a->b.transposed ? a->b.stride : 1);
    if (!rc)
        rc = dnnl_reorder_primitive_desc_create(&pd, onednn_ref(&plain), g->engine, onednn_ref(&p->layout), g->engine,
                                                NULL);
    if (!rc)
        rc = dnnl_primitive_create(&primitive, pd);
    if (!rc)
        rc = dnnl_memory_create(&from, onednn_ref(&plain), g->engine, (void *)(uintptr_t)a->b.data);
    if (!rc)
        rc = dnnl_memory_create(&to, onednn_ref(&p->layout), g->engine, p->data);
    if (!rc)
        rc = dnnl_primitive_execute(primitive, g->stream, 2,
                                    (dnnl_exec_arg_t[]){{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
    if (!rc)
        rc = dnnl_stream_wait(g->stream);
    if (to)
        dnnl_memory_destroy(to);
    if (from)
        dnnl_memory_destroy(from);
    if (primitive)
        dnnl_primitive_destroy(primitive);
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    onednn_desc_free(&plain);
    return rc;
}

// The packed copy of a->b in the layout that the product wants, made if there is none. NULL: `e` is filled.
static void *packed_of(struct gemm *g, const struct product *product, const struct gemm_product *a, struct error *e)
{
    for (struct packed *p = g->packed; p; p = p->next)
        if (p->source == a->b.data && p->k == a->k && p->n == a->n && p->stride == a->b.stride &&
            p->transposed == a->b.transposed &&
            dnnl_memory_desc_equal(onednn_ref(&p->layout), onednn_ref(&product->packed)))
            return p->data;
    struct packed *p = xcalloc(1, sizeof *p);
    p->source = a->b.data;
    p->k = a->k;
    p->n = a->n;
    p->stride = a->b.stride;
    p->transposed = a->b.transposed;
    dnnl_status_t rc = onednn_desc_copy(&p->layout, onednn_ref(&product->packed));
    if (!rc) {
        p->data = xaligned(64, dnnl_memory_desc_get_size(onednn_ref(&p->layout)));
        rc = reorder(g, p, a);
    }
    if (rc) {
        packed_free(p);
        fail(e, "cannot pack a matrix", rc);
        return NULL;
    }
    p->next = g->packed;
    g->packed = p;
    return p->data;
}

void gemm_forget(struct gemm *g)
{
    pthread_mutex_lock(&g->lock);
    while (g->packed) {
        struct packed *p = g->packed;
        g->packed = p->next;
        packed_free(p);
    }
    pthread_mutex_unlock(&g->lock);
}

// ---- running ------------------------------------------------------------------------------------------------------

static int execute(struct gemm *g, struct product *p, const struct gemm_product *a, struct error *e)
{
    const void *b = p->shape.constant ? packed_of(g, p, a, e) : a->b.data;
    if (!b)
        return -1;
    if (p->scratchpad_size > g->scratchpad_size) {
        free(g->scratchpad);
        g->scratchpad = xaligned(64, p->scratchpad_size);
        g->scratchpad_size = p->scratchpad_size;
    }
    // oneDNN takes pointers to what it only reads without const.
    struct {
        int argument;
        dnnl_memory_t memory;
        const void *data;
    } slot[] = {{DNNL_ARG_SRC, p->a, a->a.data},
                {DNNL_ARG_WEIGHTS, p->b, b},
                {DNNL_ARG_DST, p->c, a->c},
                {DNNL_ARG_BIAS, p->bias, a->bias},
                {DNNL_ARG_SCRATCHPAD, p->scratchpad, g->scratchpad}};
    dnnl_exec_arg_t arguments[sizeof slot / sizeof *slot];
    int count = 0;
    dnnl_status_t rc = dnnl_success;
    for (size_t i = 0; i < sizeof slot / sizeof *slot && !rc; i++) {
        if (!slot[i].memory)
            continue;
        rc = dnnl_memory_set_data_handle(slot[i].memory, (void *)(uintptr_t)slot[i].data);
        arguments[count++] = (dnnl_exec_arg_t){slot[i].argument, slot[i].memory};
    }
    if (!rc)
        rc = dnnl_primitive_execute(p->primitive, g->stream, count, arguments);
    if (!rc)
        rc = dnnl_stream_wait(g->stream);
    return rc ? fail(e, "a matrix product failed", rc) : 0;
}

int gemm_run(struct gemm *g, const struct gemm_product *p, struct error *e)
{
    assert(p->m > 0 && p->n > 0 && p->k > 0 && p->type != DTYPE_F16);
    struct shape shape = {.m = p->m,
                          .n = p->n,
                          .k = p->k,
                          .type = (int)p->type,
                          .c_type = (int)p->c_type,
                          .has_bias = p->bias != NULL,
                          .accumulate = p->accumulate,
                          .constant = p->constant,
                          .a_stride = p->a.stride,
                          .a_transposed = p->a.transposed,
                          .b_stride = p->constant ? 0 : p->b.stride,
                          .b_transposed = p->constant ? 0 : p->b.transposed,
                          .c_stride = p->c_stride};
    pthread_mutex_lock(&g->lock);
    // oneDNN asks OpenMP, and leaves parts out where it is given fewer threads. The settings belong to the calling thread.
    omp_set_num_threads(g->threads);
    omp_set_dynamic(0);
    struct product *product = product_of(g, &shape, e);
    int rc = product ? execute(g, product, p, e) : -1;
    pthread_mutex_unlock(&g->lock);
    return rc;
}

void gemm_destroy(struct gemm *g)
{
    if (!g)
        return;
    gemm_forget(g);
    while (g->oldest)
        evict_oldest(g);
    free(g->scratchpad);
    if (g->stream)
        dnnl_stream_destroy(g->stream);
    if (g->engine)
        dnnl_engine_destroy(g->engine);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

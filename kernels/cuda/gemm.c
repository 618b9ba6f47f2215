// Matrix products over cuBLASLt: see gemm.h. The library's matrices are column by column, so it is asked for the
// transpose: c^T = b^T a^T. Plans (descriptions and the library's choice of an algorithm) are made once for each shape
// and kept.
#include "kernels/cuda/gemm.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cublasLt.h>

#include "core/base/memory.h"

// Everything a plan depends on; compared as bytes, so all members are of one size.
struct shape {
    int m, n, k, type, c_type, accumulate;
    int a_stride, a_transposed, b_stride, b_transposed, c_stride;
    int a_align, b_align, c_align; // of the addresses, in bytes; 16 at most
    int parts;                     // enum gemm_part: what is asked of the library
};

struct plan {
    struct shape shape;
    int parts;  // what the library can do of it; 0: nothing
    int proven; // it has been done
    uint64_t used;
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t left, right, result; // b^T, a^T, c^T
    cublasLtMatmulAlgo_t algorithm;
    size_t workspace;
};

// A set is searched from end to end; the plan in it that was not used for longest makes room.
enum { SETS = 1024, WAYS = 8, ALIGN_MOST = 16 };

struct gemm {
    pthread_mutex_t lock;
    cublasLtHandle_t library;
    cublasLtMatmulPreference_t preference;
    size_t workspace_size;
    uint64_t clock;
    struct plan *set[SETS]; // [WAYS] each, or NULL
};

static int fail(struct error *e, const char *what, cublasStatus_t rc)
{
    return error_set(e, ERR_FAILED, "cuBLASLt: %s: %s", what, cublasLtGetStatusString(rc));
}

const char *cuda_gemm_library(char *text, size_t size)
{
    size_t version = cublasLtGetVersion();
    snprintf(text, size, "cuBLASLt %zu.%zu.%zu", version / 10000, version / 100 % 100, version % 100);
    return text;
}

struct gemm *cuda_gemm_create(int major, struct error *e)
{
    struct gemm *g = xcalloc(1, sizeof *g);
    pthread_mutex_init(&g->lock, NULL);
    g->workspace_size = major >= 9 ? 32u << 20 : 8u << 20;
    // Parts of a split sum are added up in order, and in fp32.
    uint32_t reduction = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    cublasStatus_t rc = cublasLtCreate(&g->library);
    if (!rc)
        rc = cublasLtMatmulPreferenceCreate(&g->preference);
    if (!rc)
        rc = cublasLtMatmulPreferenceSetAttribute(g->preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                  &g->workspace_size, sizeof g->workspace_size);
    if (!rc)
        rc = cublasLtMatmulPreferenceSetAttribute(g->preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reduction,
                                                  sizeof reduction);
    if (!rc)
        return g;
    fail(e, "cannot be started", rc);
    cuda_gemm_destroy(g);
    return NULL;
}

// ---- plans --------------------------------------------------------------------------------------------------------

static void plan_clear(struct plan *p)
{
    if (p->product)
        cublasLtMatmulDescDestroy(p->product);
    cublasLtMatrixLayout_t layouts[] = {p->left, p->right, p->result};
    for (int i = 0; i < 3; i++)
        if (layouts[i])
            cublasLtMatrixLayoutDestroy(layouts[i]);
    memset(p, 0, sizeof *p);
}

static cudaDataType_t library_type(int type)
{
    return type == DTYPE_F32 ? CUDA_R_32F : type == DTYPE_BF16 ? CUDA_R_16BF : CUDA_R_16F;
}

// The vector that the epilogue reads or writes, of the result's type.
static cublasStatus_t set_vector(struct plan *p, const void *vector)
{
    cudaDataType_t type = library_type(p->shape.c_type);
    cublasStatus_t rc =
        cublasLtMatmulDescSetAttribute(p->product, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &type, sizeof type);
    return rc ? rc
              : cublasLtMatmulDescSetAttribute(p->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &vector, sizeof vector);
}

static cublasStatus_t describe(struct plan *p, int parts, const void *vector)
{
    const struct shape *s = &p->shape;
    cudaDataType_t type = library_type(s->type), c_type = library_type(s->c_type);
    cublasOperation_t left = s->b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasOperation_t right = s->a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    // COMPUTE_32F is exact for fp32: TF32 would have to be asked for.
    cublasStatus_t rc = cublasLtMatmulDescCreate(&p->product, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    if (!rc)
        rc = cublasLtMatmulDescSetAttribute(p->product, CUBLASLT_MATMUL_DESC_TRANSA, &left, sizeof left);
    if (!rc)
        rc = cublasLtMatmulDescSetAttribute(p->product, CUBLASLT_MATMUL_DESC_TRANSB, &right, sizeof right);
    // Stored rows are the library's columns.
    if (!rc)
        rc = cublasLtMatrixLayoutCreate(&p->left, type, (uint64_t)(s->b_transposed ? s->k : s->n),
                                        (uint64_t)(s->b_transposed ? s->n : s->k), s->b_stride);
    if (!rc)
        rc = cublasLtMatrixLayoutCreate(&p->right, type, (uint64_t)(s->a_transposed ? s->m : s->k),
                                        (uint64_t)(s->a_transposed ? s->k : s->m), s->a_stride);
    if (!rc)
        rc = cublasLtMatrixLayoutCreate(&p->result, c_type, (uint64_t)s->n, (uint64_t)s->m, s->c_stride);
    // The library's B is a^T: its bias gradient of B are the sums of a's rows.
    cublasLtEpilogue_t epilogue = parts & GEMM_BIAS   ? CUBLASLT_EPILOGUE_BIAS
                                  : parts & GEMM_SUMS ? CUBLASLT_EPILOGUE_BGRADB
                                                      : CUBLASLT_EPILOGUE_DEFAULT;
    if (!rc)
        rc = cublasLtMatmulDescSetAttribute(p->product, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
    if (!rc && parts != GEMM_PRODUCT) // what can be done depends on it
        rc = set_vector(p, vector);
    return rc;
}

// Asks the library for an algorithm that does these parts.
static int choose(struct gemm *g, struct plan *p, int parts, const void *vector)
{
    const struct shape shape = p->shape;
    plan_clear(p);
    p->shape = shape;
    p->used = ++g->clock;
    if (describe(p, parts, vector))
        return 0;
    const struct {
        cublasLtMatmulPreferenceAttributes_t attribute;
        uint32_t bytes;
    } alignments[] = {{CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, (uint32_t)shape.b_align},
                      {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, (uint32_t)shape.a_align},
                      {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, (uint32_t)shape.c_align},
                      {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, (uint32_t)shape.c_align}};
    for (int i = 0; i < 4; i++)
        if (cublasLtMatmulPreferenceSetAttribute(g->preference, alignments[i].attribute, &alignments[i].bytes,
                                                 sizeof alignments[i].bytes))
            return 0;
    cublasLtMatmulHeuristicResult_t found;
    int count = 0;
    if (cublasLtMatmulAlgoGetHeuristic(g->library, p->product, p->left, p->right, p->result, p->result, g->preference,
                                       1, &found, &count) ||
        count == 0 || found.state)
        return 0;
    p->algorithm = found.algo;
    p->workspace = found.workspaceSize;
    p->parts = parts;
    return 1;
}

static struct plan *plan_of(struct gemm *g, const struct shape *shape, const void *vector)
{
    const int *v = (const int *)shape;
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < sizeof *shape / sizeof *v; i++)
        h = (h ^ (uint32_t)v[i]) * 16777619u;
    struct plan **set = &g->set[(h ^ h >> 16) % SETS], *oldest;
    if (!*set)
        *set = xcalloc(WAYS, sizeof **set);
    oldest = *set;
    for (struct plan *p = *set; p < *set + WAYS; p++) {
        if (p->used && !memcmp(&p->shape, shape, sizeof *shape)) {
            p->used = ++g->clock;
            return p;
        }
        if (p->used < oldest->used)
            oldest = p;
    }
    oldest->shape = *shape;
    if (!choose(g, oldest, shape->parts, vector) && shape->parts != GEMM_PRODUCT)
        choose(g, oldest, GEMM_PRODUCT, NULL);
    return oldest;
}

void cuda_gemm_destroy(struct gemm *g)
{
    if (!g)
        return;
    for (int i = 0; i < SETS; i++) {
        for (int k = 0; k < WAYS && g->set[i]; k++)
            plan_clear(&g->set[i][k]);
        free(g->set[i]);
    }
    if (g->preference)
        cublasLtMatmulPreferenceDestroy(g->preference);
    if (g->library)
        cublasLtDestroy(g->library);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

// ---- running ------------------------------------------------------------------------------------------------------

static int alignment(const void *p)
{
    uintptr_t low = (uintptr_t)p | ALIGN_MOST;
    return (int)(low & -low);
}

static int asked_parts(const struct gemm_product *p)
{
    // The epilogues take vectors of the result's type at multiples of 16 bytes.
    if (p->bias && p->c_type == p->type && alignment(p->bias) == ALIGN_MOST)
        return GEMM_PRODUCT | GEMM_BIAS;
    if (p->sums && p->c_type == DTYPE_F32 && alignment(p->sums) == ALIGN_MOST)
        return GEMM_PRODUCT | GEMM_SUMS;
    return GEMM_PRODUCT;
}

// The stream's own memory for the library; NULL: a failure was kept.
static void *workspace_of(struct gemm *g, struct stream *s)
{
    struct cuda_stream *c = (struct cuda_stream *)s;
    if (!c->workspace)
        cuda_check(s, cudaMalloc(&c->workspace, g->workspace_size), "memory for matrix products");
    return c->workspace;
}

static const void *vector_of(const struct gemm_product *p, int parts)
{
    return parts & GEMM_BIAS ? p->bias : parts & GEMM_SUMS ? p->sums : NULL;
}

static cublasStatus_t execute(struct gemm *g, struct stream *s, struct plan *plan, const struct gemm_product *p,
                              void *workspace)
{
    float one = 1, add = p->accumulate ? 1 : 0;
    cublasStatus_t rc = CUBLAS_STATUS_SUCCESS;
    if (plan->parts != GEMM_PRODUCT)
        rc = set_vector(plan, vector_of(p, plan->parts));
    if (!rc)
        rc = cublasLtMatmul(g->library, plan->product, &one, p->b.data, plan->left, p->a.data, plan->right, &add, p->c,
                            plan->result, p->c, plan->result, &plan->algorithm, workspace, plan->workspace,
                            cuda_stream_of(s));
    return rc;
}

// The library would not do what it has offered: nothing was queued.
static int is_refusal(cublasStatus_t rc)
{
    return rc == CUBLAS_STATUS_NOT_SUPPORTED || rc == CUBLAS_STATUS_INVALID_VALUE || rc == CUBLAS_STATUS_ARCH_MISMATCH;
}

// Does as much of it as the plan has. What the library refuses at the first time is left out of the plan, and so to the
// caller.
static void run_plan(struct gemm *g, struct stream *s, struct plan *plan, const struct gemm_product *p)
{
    void *workspace = workspace_of(g, s);
    cublasStatus_t rc = CUBLAS_STATUS_SUCCESS;
    if (!workspace)
        return;
    while (plan->parts && is_refusal(rc = execute(g, s, plan, p, workspace)) && !plan->proven) {
        if (plan->parts == GEMM_PRODUCT)
            plan->parts = 0;
        else
            choose(g, plan, GEMM_PRODUCT, NULL);
    }
    if (plan->parts && rc) {
        struct error e;
        char what[120];
        snprintf(what, sizeof what, "product [%d,%d] x [%d,%d]", p->m, p->k, p->k, p->n);
        fail(&e, what, rc);
        cuda_fail(s, &e);
    }
    plan->proven = plan->proven || !rc;
}

unsigned cuda_gemm_run(struct gemm *g, struct stream *s, const struct gemm_product *p)
{
    struct shape shape = {.m = p->m,
                          .n = p->n,
                          .k = p->k,
                          .type = (int)p->type,
                          .c_type = (int)p->c_type,
                          .accumulate = p->accumulate,
                          .a_stride = p->a.stride,
                          .a_transposed = p->a.transposed,
                          .b_stride = p->b.stride,
                          .b_transposed = p->b.transposed,
                          .c_stride = p->c_stride,
                          .a_align = alignment(p->a.data),
                          .b_align = alignment(p->b.data),
                          .c_align = alignment(p->c),
                          .parts = asked_parts(p)};
    pthread_mutex_lock(&g->lock);
    struct plan *plan = plan_of(g, &shape, vector_of(p, shape.parts));
    if (plan->parts)
        run_plan(g, s, plan, p);
    unsigned parts = (unsigned)plan->parts;
    pthread_mutex_unlock(&g->lock);
    return parts;
}

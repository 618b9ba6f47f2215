// The host model's stand-in for cuBLASLt behind kernels/cuda/gemm.h: plain loops. CUDAHOST_GEMM=none in the environment
// makes it a library that knows no product, product one that does neither bias nor bias gradient along with it, so that
// what kernels/cuda/linear.cu does instead is tested too.
#include "kernels/cuda/gemm.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "tests/cudahost/launch.h"

struct gemm {
    unsigned parts; // what it does
};

struct gemm *cuda_gemm_create(int, struct error *e)
{
    const char *wanted = getenv("CUDAHOST_GEMM");
    unsigned all = GEMM_PRODUCT | GEMM_BIAS | GEMM_SUMS;
    if (!wanted || !*wanted)
        return new gemm{all};
    if (strcmp(wanted, "none") && strcmp(wanted, "product")) {
        error_set(e, ERR_INVALID, "CUDAHOST_GEMM=%s: none or product", wanted);
        return nullptr;
    }
    return new gemm{!strcmp(wanted, "none") ? 0u : static_cast<unsigned>(GEMM_PRODUCT)};
}

void cuda_gemm_destroy(struct gemm *g)
{
    delete g;
}

const char *cuda_gemm_library(char *text, size_t size)
{
    snprintf(text, size, "plain matrix products");
    return text;
}

static float element(const void *data, enum dtype type, size_t at)
{
    if (type == DTYPE_F32)
        return static_cast<const float *>(data)[at];
    if (type == DTYPE_BF16)
        return __bfloat162float(static_cast<const __nv_bfloat16 *>(data)[at]);
    return __half2float(static_cast<const __half *>(data)[at]);
}

static void set_element(void *data, enum dtype type, size_t at, float x)
{
    if (type == DTYPE_F32)
        static_cast<float *>(data)[at] = x;
    else if (type == DTYPE_BF16)
        static_cast<__nv_bfloat16 *>(data)[at] = __float2bfloat16_rn(x);
    else
        static_cast<__half *>(data)[at] = __float2half_rn(x);
}

// The operand [rows, columns] in fp32, without gaps.
static std::vector<float> unpack(const struct gemm_operand &o, enum dtype type, int rows, int columns)
{
    std::vector<float> x(static_cast<size_t>(rows) * columns);
    size_t stride = o.stride;
    for (size_t r = 0; r < static_cast<size_t>(rows); r++)
        for (size_t c = 0; c < static_cast<size_t>(columns); c++)
            x[r * columns + c] = element(o.data, type, o.transposed ? c * stride + r : r * stride + c);
    return x;
}

// sum [n] = row [k] times b [k,n]; sums of K_BLOCK products are added up.
static void row_product(const float *row, const std::vector<float> &b, int k, int n, float *sum, float *part)
{
    enum { K_BLOCK = 64 };
    memset(sum, 0, n * sizeof *sum);
    for (int first = 0; first < k; first += K_BLOCK) {
        memset(part, 0, n * sizeof *part);
        for (int l = first; l < k && l < first + K_BLOCK; l++) {
            const float *line = &b[static_cast<size_t>(l) * n];
            for (int j = 0; j < n; j++)
                part[j] += row[l] * line[j];
        }
        for (int j = 0; j < n; j++)
            sum[j] += part[j];
    }
}

static cudaError_t multiply(const struct gemm_product &p, unsigned parts)
{
    std::vector<float> a = unpack(p.a, p.type, p.m, p.k), b = unpack(p.b, p.type, p.k, p.n), sum(p.n), part(p.n);
    for (int i = 0; i < p.m; i++) {
        const float *row = &a[static_cast<size_t>(i) * p.k];
        row_product(row, b, p.k, p.n, sum.data(), part.data());
        for (int j = 0; j < p.n; j++) {
            size_t at = static_cast<size_t>(i) * p.c_stride + j;
            float bias = p.bias && (parts & GEMM_BIAS) ? element(p.bias, p.type, j) : 0;
            set_element(p.c, p.c_type, at, sum[j] + bias + (p.accumulate ? element(p.c, p.c_type, at) : 0));
        }
        if (!p.sums || !(parts & GEMM_SUMS))
            continue;
        double total = 0;
        for (int l = 0; l < p.k; l++)
            total += row[l];
        p.sums[i] = static_cast<float>(total);
    }
    return cudaSuccess;
}

unsigned cuda_gemm_run(struct gemm *g, struct stream *s, const struct gemm_product *p)
{
    struct gemm_product product = *p;
    unsigned parts = g->parts;
    if (parts)
        cuda_check(s, cudahost::stream_queue(cuda_stream_of(s), [=] { return multiply(product, parts); }), "product");
    return parts;
}

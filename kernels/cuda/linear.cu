// The three products of a linear layer: backend.h, struct linear_forward and the two after it. cuBLASLt does them
// (gemm.h), as far as it does bias and bias gradient along with the product; kernels here do what it leaves: types and
// alignments that it does not know.
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/kernel.cuh"
#include "kernels/cuda/partials.h"

// ---- products -----------------------------------------------------------------------------------------------------
// A block makes TILE x TILE of c, a thread 2 x 2 of that, TILE of k at a time.

enum { TILE = 32, HALF = TILE / 2, STEP = TILE + 1 };

template <class T> __device__ static inline float operand_at(const struct gemm_operand &o, int row, int column)
{
    size_t at =
        o.transposed ? static_cast<size_t>(column) * o.stride + row : static_cast<size_t>(row) * o.stride + column;
    return to_float(static_cast<const T *>(o.data)[at]);
}

// Tile [TILE, TILE] of an operand at (row, column), zeros beyond [rows, columns].
template <class T>
__device__ static inline void load_tile(shared<float> tile, const struct gemm_operand &o, int row, int column, int rows,
                                        int columns)
{
    for (int i = threadIdx.x; i < TILE * TILE; i += blockDim.x) {
        // Neighbouring threads read neighbouring elements.
        int r = o.transposed ? i % TILE : i / TILE, c = o.transposed ? i / TILE : i % TILE;
        bool inside = row + r < rows && column + c < columns;
        tile[r * STEP + c] = inside ? operand_at<T>(o, row + r, column + c) : 0;
    }
}

template <class T, class C>
__device__ static inline void store_product(const struct gemm_product &p, int row, int column, float x)
{
    if (row >= p.m || column >= p.n)
        return;
    C *c = static_cast<C *>(p.c) + static_cast<size_t>(row) * p.c_stride + column;
    if (p.bias)
        x += to_float(static_cast<const T *>(p.bias)[column]);
    if (p.accumulate)
        x += to_float(*c);
    *c = from_float<C>(x);
}

template <class T, class C> __global__ void __launch_bounds__(HALF *HALF) product_kernel(struct gemm_product p)
{
    SHARED(float, a, TILE *STEP);
    SHARED(float, b, TILE *STEP);
    int row = blockIdx.x * TILE, column = blockIdx.y * TILE;
    int i = threadIdx.x / HALF, j = threadIdx.x % HALF; // and those HALF further
    float sum[2][2] = {};
    for (int k = 0; k < p.k; k += TILE) {
        __syncthreads();
        load_tile<T>(a, p.a, row, k, p.m, p.k);
        load_tile<T>(b, p.b, k, column, p.k, p.n);
        __syncthreads();
        for (int l = 0; l < TILE; l++) {
            float a0 = a[i * STEP + l], a1 = a[(i + HALF) * STEP + l], b0 = b[l * STEP + j],
                  b1 = b[l * STEP + j + HALF];
            sum[0][0] += a0 * b0;
            sum[0][1] += a0 * b1;
            sum[1][0] += a1 * b0;
            sum[1][1] += a1 * b1;
        }
    }
    for (int y = 0; y < 2; y++)
        for (int x = 0; x < 2; x++)
            store_product<T, C>(p, row + i + y * HALF, column + j + x * HALF, sum[y][x]);
}

static void queue_product(struct stream *s, const struct gemm_product *p)
{
    // Rows of a batch are in x: there is no end to blocks there, where y has 65535.
    dim3 grid(static_cast<unsigned>((p->m + TILE - 1) / TILE), static_cast<unsigned>((p->n + TILE - 1) / TILE));
    launch_shape shape = {grid, dim3(HALF * HALF), 0};
    with_type(p->type, [&](auto t) {
        using T = decltype(t);
        if (p->c_type == DTYPE_F32)
            LAUNCH(s, shape, product_kernel<T, float>, *p);
        else
            LAUNCH(s, shape, product_kernel<T, T>, *p);
    });
}

// ---- bias ---------------------------------------------------------------------------------------------------------

template <class T> __global__ void __launch_bounds__(THREADS) add_bias_kernel(struct mat y, const T *bias, size_t count)
{
    if (item_index() >= count)
        return;
    span_place at = span_place_of(item_index(), y.columns);
    float v[SPAN], b[SPAN];
    load_span<T>(v, y, at.row, at.column);
    load_span(b, bias + at.column, y.columns - at.column);
    for (int i = 0; i < SPAN; i++)
        v[i] += b[i];
    store_span<T>(y, at.row, at.column, v);
}

// ---- column sums --------------------------------------------------------------------------------------------------
// A block adds up some rows of SUM_COLUMNS columns, its warps taking turns, to partial [blocks of rows, columns].

enum {
    SUM_WARPS = 8,
    SUM_COLUMNS = WARP_SIZE * SPAN,
    SUM_BLOCKS_MOST = SHARES(128, 3),
    SUM_ROWS_LEAST = SHARES(32, 2)
};

template <class T>
__global__ void __launch_bounds__(THREADS) sum_columns_kernel(struct mat m, int rows_each, float *partial)
{
    SHARED(float, part, SUM_WARPS *SUM_COLUMNS);
    int column = blockIdx.x * SUM_COLUMNS + lane_index() * SPAN;
    int first = blockIdx.y * rows_each, end = min(first + rows_each, m.rows);
    float sum[SPAN] = {};
    for (int row = first + warp_index(); row < end && column < m.columns; row += SUM_WARPS) {
        float x[SPAN];
        load_span<T>(x, m, row, column);
        for (int i = 0; i < SPAN; i++)
            sum[i] += x[i];
    }
    for (int i = 0; i < SPAN; i++)
        part[warp_index() * SUM_COLUMNS + lane_index() * SPAN + i] = sum[i];
    __syncthreads();
    column = blockIdx.x * SUM_COLUMNS + threadIdx.x;
    float total = 0;
    for (int w = 0; w < SUM_WARPS; w++)
        total += part[w * SUM_COLUMNS + threadIdx.x];
    if (column < m.columns)
        partial[static_cast<size_t>(blockIdx.y) * m.columns + column] = total;
}

static void queue_column_sums(struct stream *s, const struct mat *m, float *out)
{
    int rows_each = (m->rows + SUM_BLOCKS_MOST - 1) / SUM_BLOCKS_MOST;
    rows_each = rows_each < SUM_ROWS_LEAST ? SUM_ROWS_LEAST : rows_each;
    int blocks = (m->rows + rows_each - 1) / rows_each;
    float *partial = static_cast<float *>(cuda_scratch(s, sizeof(float) * static_cast<size_t>(blocks) * m->columns));
    if (!partial)
        return;
    dim3 grid(static_cast<unsigned>((m->columns + SUM_COLUMNS - 1) / SUM_COLUMNS), static_cast<unsigned>(blocks));
    with_type(m->type, [&](auto t) {
        LAUNCH(s, (launch_shape{grid, dim3(THREADS), 0}), sum_columns_kernel<decltype(t)>, *m, rows_each, partial);
    });
    add_partials(s, partial, blocks, m->columns, out, NULL);
}

// ---- launchers ----------------------------------------------------------------------------------------------------

// Queues the product: by the library, or by the kernel above. Returns which parts are done.
static unsigned run(struct stream *s, const struct gemm_product *p)
{
    unsigned done = cuda_gemm_run(cuda_of(s)->gemm, s, p);
    if (done & GEMM_PRODUCT)
        return done;
    queue_product(s, p);
    return GEMM_PRODUCT | GEMM_BIAS;
}

void cuda_linear_forward(struct stream *s, const struct linear_forward *a)
{
    assert(a->x.columns == a->weight.columns && a->y.columns == a->weight.rows && a->y.rows == a->x.rows);
    assert(a->x.type == a->weight.type && (a->y.type == a->x.type || a->y.type == DTYPE_F32));
    if (a->x.rows == 0)
        return;
    struct gemm_product p = {};
    p.m = a->x.rows;
    p.n = a->weight.rows;
    p.k = a->x.columns;
    p.type = a->x.type;
    p.a = {a->x.data, a->x.stride, 0};
    p.b = {a->weight.data, a->weight.stride, 1};
    p.c = a->y.data;
    p.c_type = a->y.type;
    p.c_stride = a->y.stride;
    p.bias = a->bias;
    unsigned done = run(s, &p);
    if (!a->bias || (done & GEMM_BIAS))
        return;
    size_t count = span_total(a->y);
    with_type(a->x.type, [&](auto t) {
        using T = decltype(t);
        LAUNCH(s, launch_over(count), add_bias_kernel<T>, a->y, static_cast<const T *>(a->bias), count);
    });
}

void cuda_linear_backward_input(struct stream *s, const struct linear_backward_input *a)
{
    assert(a->dy.columns == a->weight.rows && a->dx.columns == a->weight.columns && a->dx.rows == a->dy.rows);
    assert(a->dy.type == a->weight.type && (a->dx.type == a->dy.type || a->dx.type == DTYPE_F32));
    if (a->dy.rows == 0)
        return;
    struct gemm_product p = {};
    p.m = a->dy.rows;
    p.n = a->weight.columns;
    p.k = a->weight.rows;
    p.type = a->dy.type;
    p.a = {a->dy.data, a->dy.stride, 0};
    p.b = {a->weight.data, a->weight.stride, 0};
    p.c = a->dx.data;
    p.c_type = a->dx.type;
    p.c_stride = a->dx.stride;
    p.accumulate = a->accumulate;
    run(s, &p);
}

void cuda_linear_backward_weight(struct stream *s, const struct linear_backward_weight *a)
{
    assert(a->dy.rows == a->x.rows && a->dy.type == a->x.type);
    if (a->dy.rows == 0) {
        s->op->zero(s, a->dweight, sizeof(float) * static_cast<size_t>(a->dy.columns) * a->x.columns);
        if (a->dbias)
            s->op->zero(s, a->dbias, sizeof(float) * a->dy.columns);
        return;
    }
    struct gemm_product p = {};
    p.m = a->dy.columns;
    p.n = a->x.columns;
    p.k = a->dy.rows;
    p.type = a->dy.type;
    p.a = {a->dy.data, a->dy.stride, 1};
    p.b = {a->x.data, a->x.stride, 0};
    p.c = a->dweight;
    p.c_type = DTYPE_F32;
    p.c_stride = a->x.columns;
    p.sums = a->dbias;
    unsigned done = run(s, &p);
    if (a->dbias && !(done & GEMM_SUMS))
        queue_column_sums(s, &a->dy, a->dbias);
}

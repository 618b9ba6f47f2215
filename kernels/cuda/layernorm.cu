// LayerNorm with a residual and dropout before and behind it: backend.h, struct layernorm_forward and
// layernorm_backward. A block takes a row (the backward: some rows, one after the other), a thread eight of its
// columns, which it keeps in registers: a row is read once.
#include "kernels/cuda/kernel.cuh"
#include "kernels/cuda/partials.h"

enum { ROW_THREADS_MOST = 1024, COLUMNS_MOST = ROW_THREADS_MOST * SPAN };

__device__ static inline uint32_t row_id(const int32_t *id, int row)
{
    return static_cast<uint32_t>(id ? id[row] : row);
}

// ---- forward ------------------------------------------------------------------------------------------------------

// Mean and 1/deviation of the row that the block's threads hold; lanes behind the last column hold zeros.
__device__ static inline void row_statistics(const float v[SPAN], int columns, int left, float eps, float *mean,
                                             float *rstd)
{
    float sum = 0, squares = 0;
    for (int i = 0; i < SPAN; i++)
        sum += v[i];
    *mean = block_sum(sum) / static_cast<float>(columns);
    for (int i = 0; i < SPAN; i++)
        squares += i < left ? (v[i] - *mean) * (v[i] - *mean) : 0;
    *rstd = 1 / sqrtf(block_sum(squares) / static_cast<float>(columns) + eps);
}

template <class T>
__global__ void __launch_bounds__(ROW_THREADS_MOST) layernorm_forward_kernel(struct layernorm_forward a)
{
    int row = blockIdx.x, column = threadIdx.x * SPAN, columns = a.x.columns, left = columns - column;
    uint32_t id = row_id(a.id, row);
    float v[SPAN] = {}, mean, rstd;
    if (left > 0) {
        float residual[SPAN] = {}, factor[SPAN];
        dropout_factors(dropout_begin(a.dropout_in), id, column, factor);
        load_span<T>(v, a.x, row, column);
        if (a.residual.data)
            load_span<T>(residual, a.residual, row, column);
        for (int i = 0; i < SPAN; i++)
            v[i] = v[i] * factor[i] + residual[i];
        if (a.sum.data)
            store_span<T>(a.sum, row, column, v);
    }
    row_statistics(v, columns, left, a.eps, &mean, &rstd);
    if (a.mean && threadIdx.x == 0) {
        a.mean[row] = mean;
        a.rstd[row] = rstd;
    }
    if (left <= 0)
        return;
    float weight[SPAN], bias[SPAN], factor[SPAN];
    load_span(weight, a.weight + column, left);
    load_span(bias, a.bias + column, left);
    dropout_factors(dropout_begin(a.dropout_out), id, column, factor);
    for (int i = 0; i < SPAN; i++)
        v[i] = ((v[i] - mean) * rstd * weight[i] + bias[i]) * factor[i];
    store_span<T>(a.y, row, column, v);
}

// ---- backward -----------------------------------------------------------------------------------------------------
// Gradients of weight and bias are added up over the rows of a block in registers, then over the blocks: partial
// [blocks, 2, columns], weight first.

template <class T>
__global__ void __launch_bounds__(ROW_THREADS_MOST)
    layernorm_backward_kernel(struct layernorm_backward a, int rows_each, float *partial)
{
    int column = threadIdx.x * SPAN, columns = a.dy.columns, left = columns - column;
    int first = blockIdx.x * rows_each, end = min(first + rows_each, a.dy.rows);
    dropout_draw in = dropout_begin(a.dropout_in), out = dropout_begin(a.dropout_out);
    float weight[SPAN] = {}, dweight[SPAN] = {}, dbias[SPAN] = {};
    if (left > 0)
        load_span(weight, a.weight + column, left);
    for (int row = first; row < end; row++) {
        uint32_t id = row_id(a.id, row);
        float mean = a.mean[row], rstd = a.rstd[row], g[SPAN] = {}, normal[SPAN] = {}, factor[SPAN];
        float total = 0, product = 0;
        if (left > 0) {
            load_span<T>(g, a.dy, row, column);
            load_span<T>(normal, a.sum, row, column);
            dropout_factors(out, id, column, factor);
            for (int i = 0; i < SPAN; i++) {
                float d = g[i] * factor[i];
                normal[i] = (normal[i] - mean) * rstd;
                dweight[i] += d * normal[i];
                dbias[i] += d;
                g[i] = d * weight[i]; // zero behind the last column
                total += g[i];
                product += g[i] * normal[i];
            }
        }
        total = block_sum(total) / static_cast<float>(columns);
        product = block_sum(product) / static_cast<float>(columns);
        if (left <= 0)
            continue;
        for (int i = 0; i < SPAN; i++)
            g[i] = (g[i] - total - normal[i] * product) * rstd;
        if (a.dsum.data)
            store_span<T>(a.dsum, row, column, g);
        if (a.dx.data && a.dx.data != a.dsum.data) {
            dropout_factors(in, id, column, factor);
            for (int i = 0; i < SPAN; i++)
                g[i] *= factor[i];
            store_span<T>(a.dx, row, column, g);
        }
    }
    if (left > 0) {
        float *own = partial + static_cast<size_t>(blockIdx.x) * 2 * columns + column;
        store_span(own, left, dweight);
        store_span(own + columns, left, dbias);
    }
}

// ---- launchers ----------------------------------------------------------------------------------------------------

static dim3 threads_of_row(int columns)
{
    assert(columns <= COLUMNS_MOST);
    int threads = span_count(columns);
    return dim3(static_cast<unsigned>((threads + WARP_SIZE - 1) / WARP_SIZE * WARP_SIZE));
}

void cuda_layernorm_forward(struct stream *s, const struct layernorm_forward *a)
{
    launch_shape shape = {dim3(static_cast<unsigned>(a->x.rows)), threads_of_row(a->x.columns), 0};
    enum dtype type = run_type(a->x.type, a->residual.type, a->sum.type, a->y.type);
    with_type(type, [&](auto t) { LAUNCH(s, shape, layernorm_forward_kernel<decltype(t)>, *a); });
}

enum { BLOCKS_MOST = SHARES(512, 3), ROWS_LEAST = SHARES(4, 2) };

void cuda_layernorm_backward(struct stream *s, const struct layernorm_backward *a)
{
    int rows = a->dy.rows, columns = a->dy.columns;
    assert(!(a->dropout_in.p > 0 && a->dx.data && a->dx.data == a->dsum.data));
    int rows_each = (rows + BLOCKS_MOST - 1) / BLOCKS_MOST;
    rows_each = rows_each < ROWS_LEAST ? ROWS_LEAST : rows_each;
    int blocks = (rows + rows_each - 1) / rows_each;
    float *partial = static_cast<float *>(cuda_scratch(s, sizeof(float) * 2 * static_cast<size_t>(blocks) * columns));
    if (!partial)
        return;
    launch_shape shape = {dim3(static_cast<unsigned>(blocks)), threads_of_row(columns), 0};
    enum dtype type = run_type(a->dy.type, a->sum.type, a->dsum.type, a->dx.type);
    with_type(type, [&](auto t) { LAUNCH(s, shape, layernorm_backward_kernel<decltype(t)>, *a, rows_each, partial); });
    add_partials(s, partial, blocks, columns, a->dweight, a->dbias);
}

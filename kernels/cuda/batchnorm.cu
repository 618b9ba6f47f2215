// BatchNorm + dropout + Mish: backend.h, struct batchnorm_forward and batchnorm_backward (Ioffe and Szegedy 2015).
//
// Statistics: blocks find them for a chunk of a group's rows and a strip of columns, a second kernel puts the chunks
// together, in order and in double, and moves the running statistics. Then a thread takes eight elements. The backward
// goes the same way with its two sums. Scratch: a pair of doubles for each group, chunk and column, and in the backward
// two floats for each group and column.
#include "kernels/cuda/kernel.cuh"

enum {
    LANES = 8,            // threads across a strip
    STRIP = LANES * SPAN, // its columns: 128 bytes of a 16-bit type
    ROW_THREADS = 32,     // threads that share a column
    CHUNK_THREADS = LANES * ROW_THREADS,
    CHUNK_ROWS_LEAST = SHARES(64, 3), // rows of a chunk
    CHUNKS_MOST = SHARES(64, 4),      // of a group
    FINISH_COLUMNS = 32,
    FINISH_TURNS = SHARES(8, 2),
    FINISH_THREADS = FINISH_COLUMNS * FINISH_TURNS
};

namespace
{

// How a matrix is cut up.
struct cut {
    int rows, columns, group_rows, groups;
    int chunk_rows, chunks; // of each group
};

// Two doubles for each group, chunk and column.
struct pair {
    double a, b;
};

// The rows [first, end) of a chunk.
struct span_of_rows {
    int first, end;
};

// What a span's columns share.
struct columns {
    float mean[SPAN], rstd[SPAN], weight[SPAN], bias[SPAN];
};

} // namespace

static struct cut cut_of(const struct mat &z, int group_rows)
{
    struct cut c = {z.rows, z.columns, group_rows, (z.rows + group_rows - 1) / group_rows, 0, 0};
    c.chunk_rows = (group_rows + CHUNKS_MOST - 1) / CHUNKS_MOST;
    if (c.chunk_rows < CHUNK_ROWS_LEAST)
        c.chunk_rows = CHUNK_ROWS_LEAST;
    c.chunks = (group_rows + c.chunk_rows - 1) / c.chunk_rows;
    return c;
}

__device__ static inline size_t pair_at(const struct cut &c, int group, int chunk, int column)
{
    return (static_cast<size_t>(group) * c.chunks + chunk) * c.columns + column;
}

// A group's last chunks may be empty, and the last group may be short.
__device__ static inline span_of_rows chunk_rows(const struct cut &c, int group, int chunk)
{
    int first = group * c.group_rows + chunk * c.chunk_rows;
    int end = min(min(first + c.chunk_rows, (group + 1) * c.group_rows), c.rows);
    return {first, end};
}

__device__ static inline bool is_masked(const int32_t *length, int frames, int row)
{
    return length && row % frames >= length[row / frames];
}

// Sums v over the threads that share a thread's columns, and gives them to the first of these. All threads call it.
__device__ static inline void sum_rows(float v[SPAN])
{
    SHARED(float, part, ROW_THREADS *STRIP);
    __syncthreads();
    for (int i = 0; i < SPAN; i++)
        part[threadIdx.y * STRIP + threadIdx.x * SPAN + i] = v[i];
    for (unsigned step = ROW_THREADS / 2; step > 0; step /= 2) {
        __syncthreads();
        if (threadIdx.y < step)
            for (int i = 0; i < SPAN; i++)
                part[threadIdx.y * STRIP + threadIdx.x * SPAN + i] +=
                    static_cast<float>(part[(threadIdx.y + step) * STRIP + threadIdx.x * SPAN + i]);
    }
    __syncthreads();
    for (int i = 0; i < SPAN; i++)
        v[i] = part[threadIdx.x * SPAN + i];
}

// ---- forward: statistics ------------------------------------------------------------------------------------------

// Of a chunk: the mean, and the sum of squared distances from it. The mean comes with the error of sums in fp32: the
// distances from it are exact where that matters, so their own mean corrects it, and their squares.
template <class T>
__global__ void __launch_bounds__(CHUNK_THREADS) chunk_statistics_kernel(struct mat z, struct cut c, struct pair *out)
{
    int column = blockIdx.z * STRIP + threadIdx.x * SPAN, left = c.columns - column;
    int group = blockIdx.x, chunk = blockIdx.y;
    span_of_rows rows = chunk_rows(c, group, chunk);
    float mean[SPAN] = {}, distance[SPAN] = {}, squares[SPAN] = {}, x[SPAN];
    int n = rows.end - rows.first;
    if (n <= 0)
        return; // the whole block
    for (int r = rows.first + threadIdx.y; r < rows.end && left > 0; r += ROW_THREADS) {
        load_span<T>(x, z, r, column);
        for (int i = 0; i < SPAN; i++)
            mean[i] += x[i];
    }
    sum_rows(mean);
    for (int i = 0; i < SPAN; i++)
        mean[i] /= static_cast<float>(n);
    for (int r = rows.first + threadIdx.y; r < rows.end && left > 0; r += ROW_THREADS) {
        load_span<T>(x, z, r, column);
        for (int i = 0; i < SPAN; i++) {
            float d = x[i] - mean[i];
            distance[i] += d;
            squares[i] += d * d;
        }
    }
    sum_rows(distance);
    sum_rows(squares);
    for (int i = 0; i < SPAN && threadIdx.y == 0; i++)
        if (i < left) {
            double d = distance[i], above = squares[i] - d * d / n;
            out[pair_at(c, group, chunk, column + i)] = {mean[i] + d / n, above > 0 ? above : 0};
        }
}

// Mean and sum of squares of a group's column from its chunks' (Chan, Golub, LeVeque 1979).
__device__ static inline struct pair join_chunks(const struct cut &c, const struct pair *chunks, int group, int column,
                                                 int *rows)
{
    struct pair all = {0, 0};
    int n = 0;
    for (int chunk = 0; chunk < c.chunks; chunk++) {
        span_of_rows r = chunk_rows(c, group, chunk);
        int m = r.end - r.first;
        if (m <= 0)
            break;
        struct pair one = chunks[pair_at(c, group, chunk, column)];
        double apart = one.a - all.a;
        all.b += one.b + apart * apart * n * m / (n + m);
        all.a += apart * m / (n + m);
        n += m;
    }
    *rows = n;
    return all;
}

// A block takes FINISH_COLUMNS columns, their groups in turns; adds up what its threads found of a column, in order.
// The first thread of a column gets the sums.
__device__ static inline void sum_turns(double *a, double *b)
{
    SHARED(struct pair, turn, FINISH_TURNS * FINISH_COLUMNS);
    turn[threadIdx.y * FINISH_COLUMNS + threadIdx.x] = {*a, *b};
    __syncthreads();
    *a = *b = 0;
    for (int y = 0; y < FINISH_TURNS && threadIdx.y == 0; y++) {
        struct pair one = turn[y * FINISH_COLUMNS + threadIdx.x];
        *a += one.a;
        *b += one.b;
    }
}

__global__ void __launch_bounds__(FINISH_THREADS)
    finish_statistics_kernel(struct batchnorm_forward a, struct cut c, const struct pair *chunks)
{
    int column = blockIdx.x * FINISH_COLUMNS + threadIdx.x;
    double mean = 0, var = 0;
    for (int g = threadIdx.y; g < c.groups && column < c.columns; g += FINISH_TURNS) {
        int n;
        struct pair all = join_chunks(c, chunks, g, column, &n);
        size_t at = static_cast<size_t>(g) * c.columns + column;
        a.mean[at] = static_cast<float>(all.a);
        a.rstd[at] = static_cast<float>(1 / sqrt(all.b / n + a.eps));
        mean += all.a;
        var += all.b / (n > 1 ? n - 1 : 1);
    }
    sum_turns(&mean, &var);
    if (threadIdx.y != 0 || column >= c.columns)
        return;
    double keep = 1 - static_cast<double>(a.momentum), move = static_cast<double>(a.momentum) / c.groups;
    a.running_mean[column] = static_cast<float>(keep * a.running_mean[column] + move * mean);
    a.running_var[column] = static_cast<float>(keep * a.running_var[column] + move * var);
}

// Where the statistics are those of other batches: to mean and rstd of every group.
__global__ void __launch_bounds__(THREADS) copy_statistics_kernel(struct batchnorm_forward a, struct cut c)
{
    size_t at = item_index();
    if (at >= static_cast<size_t>(c.groups) * c.columns)
        return;
    int column = static_cast<int>(at % c.columns);
    a.mean[at] = a.running_mean[column];
    a.rstd[at] = static_cast<float>(1 / sqrt(static_cast<double>(a.running_var[column]) + a.eps));
}

// ---- forward: elements --------------------------------------------------------------------------------------------

__device__ static inline void load_columns(struct columns &v, const float *mean, const float *rstd, const float *weight,
                                           const float *bias, size_t group_at, int column, int left)
{
    load_span(v.mean, mean + group_at + column, left);
    load_span(v.rstd, rstd + group_at + column, left);
    load_span(v.weight, weight + column, left);
    load_span(v.bias, bias + column, left);
}

template <class T> __global__ void __launch_bounds__(THREADS) normalise_kernel(struct batchnorm_forward a, size_t count)
{
    if (item_index() >= count)
        return;
    span_place at = span_place_of(item_index(), a.z.columns);
    float x[SPAN] = {}, factor[SPAN];
    if (!is_masked(a.length, a.frames, at.row)) {
        struct columns v;
        size_t group_at = a.running ? 0 : static_cast<size_t>(at.row / a.group_rows) * a.z.columns;
        load_columns(v, a.running ? a.running_mean : a.mean, a.running ? a.running_var : a.rstd, a.weight, a.bias,
                     group_at, at.column, a.z.columns - at.column);
        load_span<T>(x, a.z, at.row, at.column);
        dropout_factors(dropout_begin(a.dropout), a.first_row_id + at.row, at.column, factor);
        for (int i = 0; i < SPAN; i++) {
            float rstd = a.running ? 1 / sqrtf(v.rstd[i] + a.eps) : v.rstd[i];
            x[i] = mish_value(((x[i] - v.mean[i]) * (rstd * v.weight[i]) + v.bias[i]) * factor[i]);
        }
    }
    store_span<T>(a.y, at.row, at.column, x);
}

// ---- backward -----------------------------------------------------------------------------------------------------

// g = gradient at the output of the norm, x = the normalised value, of one span.
template <class T>
__device__ static inline void differentiate(const struct batchnorm_backward &a, const dropout_draw &draw,
                                            const struct columns &v, int row, int column, float g[SPAN], float x[SPAN])
{
    float factor[SPAN];
    load_span<T>(x, a.z, row, column);
    for (int i = 0; i < SPAN; i++)
        x[i] = (x[i] - v.mean[i]) * v.rstd[i];
    if (is_masked(a.length, a.frames, row)) {
        for (int i = 0; i < SPAN; i++)
            g[i] = 0;
        return;
    }
    load_span<T>(g, a.dy, row, column);
    dropout_factors(draw, a.first_row_id + row, column, factor);
    for (int i = 0; i < SPAN; i++)
        g[i] *= mish_slope((x[i] * v.weight[i] + v.bias[i]) * factor[i]) * factor[i];
}

// Sums of g and of g*x over a chunk.
template <class T>
__global__ void __launch_bounds__(CHUNK_THREADS)
    chunk_sums_kernel(struct batchnorm_backward a, struct cut c, struct pair *out)
{
    int column = blockIdx.z * STRIP + threadIdx.x * SPAN, left = c.columns - column;
    int group = blockIdx.x, chunk = blockIdx.y;
    span_of_rows rows = chunk_rows(c, group, chunk);
    dropout_draw draw = dropout_begin(a.dropout);
    struct columns v = {};
    float sum[SPAN] = {}, product[SPAN] = {};
    if (rows.end <= rows.first)
        return; // the whole block
    if (left > 0)
        load_columns(v, a.mean, a.rstd, a.weight, a.bias, static_cast<size_t>(group) * c.columns, column, left);
    for (int r = rows.first + threadIdx.y; r < rows.end && left > 0; r += ROW_THREADS) {
        float g[SPAN], x[SPAN];
        differentiate<T>(a, draw, v, r, column, g, x);
        for (int i = 0; i < SPAN; i++) {
            sum[i] += g[i];
            product[i] += g[i] * x[i];
        }
    }
    sum_rows(sum);
    sum_rows(product);
    for (int i = 0; i < SPAN && threadIdx.y == 0; i++)
        if (i < left)
            out[pair_at(c, group, chunk, column + i)] = {sum[i], product[i]};
}

// Sums of a group's column over its chunks, in order.
__device__ static inline struct pair add_chunks(const struct cut &c, const struct pair *chunks, int group, int column,
                                                int *rows)
{
    struct pair all = {0, 0};
    *rows = 0;
    for (int chunk = 0; chunk < c.chunks; chunk++) {
        span_of_rows r = chunk_rows(c, group, chunk);
        if (r.end <= r.first)
            break;
        struct pair one = chunks[pair_at(c, group, chunk, column)];
        all.a += one.a;
        all.b += one.b;
        *rows += r.end - r.first;
    }
    return all;
}

// Gradients of weight and bias; and means [groups, 2, columns] of g and of g*x, which the statistics take away.
__global__ void __launch_bounds__(FINISH_THREADS)
    finish_sums_kernel(struct batchnorm_backward a, struct cut c, const struct pair *chunks, float *means)
{
    int column = blockIdx.x * FINISH_COLUMNS + threadIdx.x;
    double sum = 0, product = 0;
    for (int g = threadIdx.y; g < c.groups && column < c.columns; g += FINISH_TURNS) {
        int n;
        struct pair all = add_chunks(c, chunks, g, column, &n);
        float *mean = means + static_cast<size_t>(g) * 2 * c.columns + column;
        mean[0] = a.running ? 0 : static_cast<float>(all.a / n);
        mean[c.columns] = a.running ? 0 : static_cast<float>(all.b / n);
        sum += all.a;
        product += all.b;
    }
    sum_turns(&sum, &product);
    if (threadIdx.y != 0 || column >= c.columns)
        return;
    a.dweight[column] = static_cast<float>(product);
    a.dbias[column] = static_cast<float>(sum);
}

template <class T>
__global__ void __launch_bounds__(THREADS)
    input_gradient_kernel(struct batchnorm_backward a, const float *means, size_t count)
{
    if (item_index() >= count)
        return;
    span_place at = span_place_of(item_index(), a.z.columns);
    int group = at.row / a.group_rows, columns = a.z.columns, left = columns - at.column;
    struct columns v;
    float g[SPAN], x[SPAN], mean[SPAN], slope[SPAN];
    load_columns(v, a.mean, a.rstd, a.weight, a.bias, static_cast<size_t>(group) * columns, at.column, left);
    load_span(mean, means + static_cast<size_t>(group) * 2 * columns + at.column, left);
    load_span(slope, means + (static_cast<size_t>(group) * 2 + 1) * columns + at.column, left);
    differentiate<T>(a, dropout_begin(a.dropout), v, at.row, at.column, g, x);
    for (int i = 0; i < SPAN; i++)
        g[i] = (g[i] - mean[i] - x[i] * slope[i]) * (v.weight[i] * v.rstd[i]);
    store_span<T>(a.dz, at.row, at.column, g);
}

// ---- launchers ----------------------------------------------------------------------------------------------------

static launch_shape launch_chunks(const struct cut &c)
{
    dim3 grid(static_cast<unsigned>(c.groups), static_cast<unsigned>(c.chunks),
              static_cast<unsigned>((c.columns + STRIP - 1) / STRIP));
    return {grid, dim3(LANES, ROW_THREADS), 0};
}

static launch_shape launch_finish(const struct cut &c)
{
    return {dim3(static_cast<unsigned>((c.columns + FINISH_COLUMNS - 1) / FINISH_COLUMNS)),
            dim3(FINISH_COLUMNS, FINISH_TURNS), 0};
}

static size_t pairs_size(const struct cut &c)
{
    return sizeof(struct pair) * c.groups * c.chunks * c.columns;
}

static void queue_statistics(struct stream *s, const struct batchnorm_forward *a)
{
    struct cut c = cut_of(a->z, a->group_rows);
    if (a->running) {
        if (a->mean)
            LAUNCH(s, launch_over(static_cast<size_t>(c.groups) * c.columns), copy_statistics_kernel, *a, c);
        return;
    }
    struct pair *pairs = static_cast<struct pair *>(cuda_scratch(s, pairs_size(c)));
    if (!pairs)
        return;
    with_type(a->z.type,
              [&](auto t) { LAUNCH(s, launch_chunks(c), chunk_statistics_kernel<decltype(t)>, a->z, c, pairs); });
    LAUNCH(s, launch_finish(c), finish_statistics_kernel, *a, c, pairs);
}

void cuda_batchnorm_forward(struct stream *s, const struct batchnorm_forward *a)
{
    assert(a->running || (a->mean && a->rstd));
    queue_statistics(s, a);
    size_t count = span_total(a->z);
    with_type(run_type(a->z.type, a->y.type),
              [&](auto t) { LAUNCH(s, launch_over(count), normalise_kernel<decltype(t)>, *a, count); });
}

void cuda_batchnorm_backward(struct stream *s, const struct batchnorm_backward *a)
{
    struct cut c = cut_of(a->z, a->group_rows);
    char *memory = static_cast<char *>(
        cuda_scratch(s, pairs_size(c) + sizeof(float) * 2 * c.groups * static_cast<size_t>(c.columns)));
    if (!memory)
        return;
    struct pair *pairs = reinterpret_cast<struct pair *>(memory);
    float *means = reinterpret_cast<float *>(memory + pairs_size(c));
    size_t count = span_total(a->z);
    with_type(run_type(a->z.type, a->dy.type, a->dz.type), [&](auto t) {
        using T = decltype(t);
        LAUNCH(s, launch_chunks(c), chunk_sums_kernel<T>, *a, c, pairs);
        LAUNCH(s, launch_finish(c), finish_sums_kernel, *a, c, pairs, means);
        LAUNCH(s, launch_over(count), input_gradient_kernel<T>, *a, means, count);
    });
}

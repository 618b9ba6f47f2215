// Disentangled attention on tensor cores, backward: backend.h, struct attention_backward; formulas as in
// attention_backward.cu, tiles as in attention_mma.cuh. Four kernels:
//
//  1. scores again, from them P (probabilities times dropout) and dS (the gradient of the scores before the scale), in
//     the run's type, to scratch memory: [clips, heads, 2, tiles*32, tiles*32], zeros outside the clip;
//  2. dq, dk and dv of a tile of rows, each a product with a matrix of these: [dS | dS by distance] times keys and
//     their relative rows for dq, the same transposed with queries for dk, P transposed with dcontext for dv;
//  3. gradients of the relative rows by distance, [dS by distance] transposed times queries or keys, over a chunk of
//     the clips: a block owns its sums, so they are made in one order, and each part of the batch adds to those of the
//     part before it;
//  4. the distances that share a relative row, added up (attention_backward.cu).
#include "kernels/cuda/attention_mma.cuh"

enum { PAIRS = SIZE_LIMIT / 16, MATRIX = MMA_TILE * SLICE_STEP, CHUNKS = SHARES(16, 3), RELATIVE_TILE = 64 };

namespace
{

struct work {
    struct attention_backward a;
    score_input in;
    float factor;          // 1 / scale
    int first_clip, clips; // of this part
    int side;              // of P and dS
    void *matrices;        // [clips, heads, {P, dS}, side, side] of the run's type
    float *relative;       // [2 (key, query), heads, CHUNKS, 2L-1, s]: of the parts so far
};

enum third { QUERY, KEY, VALUE };

} // namespace

// P or dS of a clip's head, as a matrix. index: of clip and head in this part.
template <class T> __device__ static inline struct mat matrix_of(const struct work &w, int index, int is_gradient)
{
    T *data = static_cast<T *>(w.matrices) + (static_cast<size_t>(index) * 2 + is_gradient) * w.side * w.side;
    return {data, sizeof(T) == 2 ? w.a.qkv.type : DTYPE_F32, w.side, w.side, w.side};
}

// ---- P and dS -----------------------------------------------------------------------------------------------------

// d [2][4]: the tile's part of dcontext times the transpose of the values. By the whole block.
template <class T>
__device__ static inline void probability_gradients(float d[2][4], const struct work &w, const head_place &at, int i0,
                                                    int j0, shared<uint32_t> memory)
{
    mma_place p = mma_place_of();
    auto rows_from = [&](int first) {
        return [=](int r) { return first + r < at.length ? at.first + first + r : -1; };
    };
    auto load = [&](int n, int stage) {
        int column = at.head * w.in.size + n * SLICE, left = w.in.size - n * SLICE;
        shared<uint32_t> to = memory + stage * STAGE;
        begin_rows<T>(to, SLICE_STEP, w.a.dcontext, MMA_TILE, SLICE / SPAN, column, left, rows_from(i0));
        begin_rows<T>(to + MATRIX, SLICE_STEP, w.in.qkv, MMA_TILE, SLICE / SPAN, 2 * w.in.hidden + column, left,
                      rows_from(j0));
    };
    pipeline((w.in.size + SLICE - 1) / SLICE, load, [&](int n, int stage) {
        shared<uint32_t> from = memory + stage * STAGE;
        uint32_t a[2][4];
        for (int i = 0; i < 2; i++)
            load_a(a[i], from, SLICE_STEP, p.row, i * 16);
#pragma unroll
        for (int i = 0; i < 2; i++)
            add_slice<T>(d[i], a, from + MATRIX, p.half * 16 + i * 8, n * SLICE + 16 < w.in.size);
    });
}

// Scores to probabilities, d to gradients of these; returns in mean the lane's part of sum over keys of p d.
__device__ static inline void probabilities(float s[2][4], float d[2][4], const struct work &w, const head_place &at,
                                            int i0, int j0, const float max[2], const float sum[2],
                                            const float kept[2][4], float mean[2])
{
    mma_place p = mma_place_of();
#pragma unroll
    for (int n = 0; n < 2; n++)
        for (int x = 0; x < 4; x++) {
            int i = i0 + p.row + p.g + x / 2 * 8, j = j0 + p.half * 16 + n * 8 + 2 * p.t + x % 2;
            bool inside = i < at.length && j < at.length;
            s[n][x] = inside ? expf(s[n][x] * w.factor - max[x / 2]) * (1 / sum[x / 2]) : 0;
            d[n][x] = inside ? d[n][x] * kept[n][x] : 0;
            mean[x / 2] += s[n][x] * d[n][x];
        }
}

template <int TILES, class T> __global__ void __launch_bounds__(MMA_THREADS) mma_scores_backward_kernel(struct work w)
{
    SHARED(uint32_t, memory, SCORES_WORDS);
    SHARED(float, pair, 2 * MMA_TILE);
    head_place at = head_place_of(w.a.rows, w.a.heads, w.first_clip * w.a.heads + blockIdx.x);
    int i0 = blockIdx.y * MMA_TILE, column = at.head * span_count(w.in.frames) * SPAN;
    if (i0 >= at.length)
        return; // the whole block
    mma_place p = mma_place_of();
    dropout_draw draw = dropout_begin(w.a.dropout);
    float s[TILES][2][4] = {}, d[TILES][2][4] = {}, kept[TILES][2][4], max[2] = {}, sum[2] = {1, 1}, mean[2] = {};
    for (int y = 0; y < 2; y++) {
        int i = i0 + p.row + p.g + y * 8;
        if (i < at.length) {
            size_t index = static_cast<size_t>(at.first + i) * w.a.heads + at.head;
            max[y] = w.a.row_max[index];
            sum[y] = w.a.row_sum[index];
        }
    }
#pragma unroll
    for (int tile = 0; tile < TILES; tile++)
        if (tile * MMA_TILE < at.length) {
            int j0 = tile * MMA_TILE;
            mma_scores<T>(s[tile], w.in, at, i0, j0, memory);
            probability_gradients<T>(d[tile], w, at, i0, j0, memory);
            tile_factors(draw, p, w.a.rows.id + at.first, i0, j0, at.length, column, kept[tile]);
            probabilities(s[tile], d[tile], w, at, i0, j0, max, sum, kept[tile], mean);
        }
    join_rows(mean, p, pair, [](float x, float y) { return x + y; });
    struct mat probability = matrix_of<T>(w, blockIdx.x, 0), gradient = matrix_of<T>(w, blockIdx.x, 1);
#pragma unroll
    for (int tile = 0; tile < TILES; tile++)
        for (int n = 0; n < 4 && tile * MMA_TILE < at.length; n++) { // n-tile n/2, row n%2
            int y = n % 2, row = i0 + p.row + p.g + y * 8;
            int j = tile * MMA_TILE + p.half * 16 + n / 2 * 8 + 2 * p.t;
            const float *own = &s[tile][n / 2][y * 2], *d_own = &d[tile][n / 2][y * 2];
            const float *factor = &kept[tile][n / 2][y * 2];
            store_pair<T>(probability, row, j, 2, own[0] * factor[0], own[1] * factor[1]);
            store_pair<T>(gradient, row, j, 2, own[0] * (d_own[0] - mean[y]) * w.factor,
                          own[1] * (d_own[1] - mean[y]) * w.factor);
        }
}

// ---- dq, dk, dv ---------------------------------------------------------------------------------------------------
// A block takes a tile of the rows of one third of one head of one clip; a warp 16 of them and every other 16 columns.
// Its partners are keys for dq, queries for dk and dv.

// Element (i, j) of the tile of dS.
template <class T> __device__ static inline uint32_t matrix_bits(shared<uint32_t> matrix, int i, int j)
{
    return (matrix[i * SLICE_STEP + j / 2] >> j % 2 * 16) & 0xffff;
}

// a [16, 16] of dS by distance: element (r, e) is that of row r and the partner at distance row e of the relative ones;
// zero where there is no such partner in the tile.
template <class T>
__device__ static inline void load_by_distance(uint32_t a[4], shared<uint32_t> matrix, int third, const mma_place &p,
                                               int e0)
{
#pragma unroll
    for (int q = 0; q < 4; q++) {
        a[q] = 0;
        for (int x = 0; x < 2; x++) {
            int row = p.row + p.g + q % 2 * 8, e = e0 + q / 2 * 8 + 2 * p.t + x;
            int i = third == QUERY ? row : row + e - (MMA_TILE - 1), j = third == QUERY ? row - e + MMA_TILE - 1 : row;
            if (i >= 0 && i < MMA_TILE && j >= 0 && j < MMA_TILE)
                a[q] |= matrix_bits<T>(matrix, i, j) << x * 16;
        }
    }
}

// c [pairs][2][4] += a times 16 rows of b from `row` on: every other 16 columns.
template <class T>
__device__ static inline void add_columns(float c[PAIRS / 2][2][4], const uint32_t a[4], shared<uint32_t> rows,
                                          int step, int row, int size, int half)
{
#pragma unroll
    for (int n = 0; n < PAIRS / 2; n++) {
        uint32_t b[4];
        if ((2 * n + half) * 16 >= size)
            break;
        load_b(b, rows, step, row, (2 * n + half) * 16);
        multiply<T>(c[n][0], a, b);
        multiply<T>(c[n][1], a, b + 2);
    }
}

// Begins to bring what the tile of partners from p0 on takes: its part of the matrix, as it is stored; the partners;
// their relative rows.
template <class T>
__device__ static inline void begin_partners(const struct work &w, const head_place &at, int third, int r0, int p0,
                                             shared<uint32_t> matrix, shared<uint32_t> partners,
                                             shared<uint32_t> relative)
{
    int i0 = third == QUERY ? r0 : p0, j0 = third == QUERY ? p0 : r0, size = w.in.size, column = at.head * size;
    begin_rows<T>(matrix, SLICE_STEP, matrix_of<T>(w, blockIdx.x, third != VALUE), MMA_TILE, MMA_TILE / SPAN, j0,
                  MMA_TILE, [=](int r) { return i0 + r; });
    if (third == VALUE) {
        begin_head_rows<T>(partners, w.a.dcontext, at, p0, column, size);
    } else {
        int from = (third == QUERY ? w.in.hidden : 0) + column; // keys for dq, queries for dk: relative rows likewise
        begin_head_rows<T>(partners, w.in.qkv, at, p0, from, size);
        begin_rows<T>(relative, head_step(size), w.in.rel, RELATIVE_ROWS, (size + 15) / 16 * 2, from, size,
                      [&](int e) { return relative_row(w.in, i0 - j0 + e - (MMA_TILE - 1)); });
    }
    end_copies();
}

template <class T>
__device__ static inline void add_partners(float c[PAIRS / 2][2][4], int third, int size, shared<uint32_t> matrix,
                                           shared<uint32_t> partners, shared<uint32_t> relative)
{
    mma_place p = mma_place_of();
    uint32_t a[4];
    for (int k = 0; k < MMA_TILE; k += 16) {
        if (third == QUERY)
            load_a(a, matrix, SLICE_STEP, p.row, k);
        else
            load_a_transposed(a, matrix, SLICE_STEP, k, p.row);
        add_columns<T>(c, a, partners, head_step(size), k, size, p.half);
    }
    // The band: rows of the second half meet distances from 16 on as queries, up to 47 as keys.
    int first = third == QUERY ? p.row : 16 - p.row;
    for (int e = first; e < first + 48 && third != VALUE; e += 16) {
        load_by_distance<T>(a, matrix, third, p, e);
        add_columns<T>(c, a, relative, head_step(size), e, size, p.half);
    }
}

template <class T> __global__ void __launch_bounds__(MMA_THREADS) mma_rows_backward_kernel(struct work w)
{
    SHARED(uint32_t, matrix, MATRIX);
    SHARED(uint32_t, partners, MMA_TILE * (SIZE_LIMIT / 2 + 4));
    SHARED(uint32_t, relative, RELATIVE_ROWS * (SIZE_LIMIT / 2 + 4));
    head_place at = head_place_of(w.a.rows, w.a.heads, w.first_clip * w.a.heads + blockIdx.x);
    int r0 = blockIdx.y * MMA_TILE, third = blockIdx.z, size = w.in.size;
    if (r0 >= at.held)
        return; // the whole block
    mma_place p = mma_place_of();
    float c[PAIRS / 2][2][4] = {};
    for (int p0 = 0; p0 < at.length && r0 < at.length; p0 += MMA_TILE) {
        __syncthreads();
        begin_partners<T>(w, at, third, r0, p0, matrix, partners, relative);
        wait_copies<0>();
        __syncthreads();
        add_partners<T>(c, third, size, matrix, partners, relative);
    }
#pragma unroll
    for (int n = 0; n < PAIRS / 2; n++)
        for (int y = 0; y < 4; y++) { // n-tile y/2, row y%2
            int row = r0 + p.row + p.g + y % 2 * 8, column = (2 * n + p.half) * 16 + y / 2 * 8 + 2 * p.t;
            if (row < at.held && column < size)
                store_pair<T>(w.a.dqkv, at.first + row, third * w.in.hidden + at.head * size + column, size - column,
                              c[n][y / 2][y % 2 * 2], c[n][y / 2][y % 2 * 2 + 1]);
        }
}

// ---- relative rows ------------------------------------------------------------------------------------------------
// A block takes RELATIVE_TILE distances of one head and one of the two gradients, over the clips of a chunk; a warp 16
// distances and all columns.

// a [16, 16]: element (e, p) is dS at distance e0+e for partner row p0+p, a query for the keys' relative rows, a key for
// the queries'; zero outside the clip.
template <class T>
__device__ static inline void load_diagonals(uint32_t a[4], const struct work &w, const struct mat &gradient,
                                             int length, int which, int e0, int p0)
{
    int lane = lane_index();
#pragma unroll
    for (int q = 0; q < 4; q++) {
        a[q] = 0;
        for (int x = 0; x < 2; x++) {
            int partner = p0 + q / 2 * 8 + lane % 4 * 2 + x;
            int distance = e0 + lane / 4 + q % 2 * 8 - (w.in.frames - 1); // i - j
            int i = which == KEY_RELATIVE ? partner : partner + distance, j = i - distance;
            uint16_t bits = 0;
            if (i >= 0 && i < length && j >= 0 && j < length)
                memcpy(&bits, mat_at<const T>(gradient, i, j), sizeof bits);
            a[q] |= static_cast<uint32_t>(bits) << x * 16;
        }
    }
}

template <class T>
__device__ static inline void store_relative(const struct work &w, float *out, int e0, const float c[PAIRS][2][4])
{
    mma_place p = mma_place_of();
    int distances = 2 * w.in.frames - 1;
#pragma unroll
    for (int n = 0; n < PAIRS; n++)
        for (int x = 0; x < 8; x++) {
            int e = e0 + p.g + x / 2 % 2 * 8, column = n * 16 + x / 4 * 8 + 2 * p.t + x % 2;
            if (e < distances && column < w.in.size) {
                float *to = out + e * w.in.size + column, sum = c[n][x / 4][x % 4];
                *to = w.first_clip == 0 ? sum : *to + sum;
            }
        }
}

template <class T> __global__ void __launch_bounds__(MMA_THREADS) mma_relative_kernel(struct work w)
{
    SHARED(uint32_t, partners, MMA_TILE * (SIZE_LIMIT / 2 + 4));
    int head = blockIdx.x / CHUNKS, chunk = blockIdx.x % CHUNKS, which = blockIdx.z, size = w.in.size;
    int first_e = blockIdx.y * RELATIVE_TILE, e0 = first_e + warp_index() * 16;
    // No two rows of a clip that is not longer than this are so far apart.
    int nearest = max(0, max(first_e - (w.in.frames - 1), w.in.frames - 1 - (first_e + RELATIVE_TILE - 1)));
    int end = static_cast<int>(static_cast<int64_t>(w.clips) * (chunk + 1) / CHUNKS);
    int column = (which == KEY_RELATIVE ? 0 : w.in.hidden) + head * size;
    float c[PAIRS][2][4] = {};
    for (int clip = static_cast<int>(static_cast<int64_t>(w.clips) * chunk / CHUNKS); clip < end; clip++) {
        int index = clip * w.a.heads + head;
        head_place at = head_place_of(w.a.rows, w.a.heads, w.first_clip * w.a.heads + index);
        struct mat gradient = matrix_of<T>(w, index, 1);
        for (int p0 = 0; p0 < at.length && at.length > nearest; p0 += MMA_TILE) {
            __syncthreads();
            begin_head_rows<T>(partners, w.in.qkv, at, p0, column, size);
            end_copies();
            uint32_t a[2][4];
            for (int k = 0; k < 2; k++)
                load_diagonals<T>(a[k], w, gradient, at.length, which, e0, p0 + k * 16);
            wait_copies<0>();
            __syncthreads();
            for (int k = 0; k < 2; k++)
#pragma unroll
                for (int n = 0; n < PAIRS; n++) {
                    uint32_t b[4];
                    if (n * 16 >= size)
                        break;
                    load_b(b, partners, head_step(size), k * 16, n * 16);
                    multiply<T>(c[n][0], a[k], b);
                    multiply<T>(c[n][1], a[k], b + 2);
                }
        }
    }
    size_t sums = static_cast<size_t>(which * w.a.heads + head) * CHUNKS + chunk;
    store_relative<T>(w, w.relative + sums * (2 * w.in.frames - 1) * size, e0, c);
}

// ---- launcher -----------------------------------------------------------------------------------------------------

constexpr size_t MATRICES_MOST = SHARES(static_cast<size_t>(512) << 20, 24 << 10); // bytes of P and dS at once

template <int TILES, class T> static void queue_part(struct stream *s, const struct work &w)
{
    unsigned heads = static_cast<unsigned>(w.a.heads), each = static_cast<unsigned>(w.clips) * heads;
    unsigned tiles = static_cast<unsigned>(w.side / MMA_TILE);
    unsigned distance_tiles = static_cast<unsigned>((2 * w.in.frames - 1 + RELATIVE_TILE - 1) / RELATIVE_TILE);
    dim3 block(MMA_THREADS);
    LAUNCH(s, (launch_shape{dim3(each, tiles), block, 0}), mma_scores_backward_kernel<TILES, T>, w);
    LAUNCH(s, (launch_shape{dim3(each, tiles, 3), block, 0}), mma_rows_backward_kernel<T>, w);
    LAUNCH(s, (launch_shape{dim3(heads * CHUNKS, distance_tiles, 2), block, 0}), mma_relative_kernel<T>, w);
}

void queue_mma_backward(struct stream *s, const struct attention_backward *a, const score_input &in, float factor)
{
    int clips = a->rows.clips, side = (in.frames + MMA_TILE - 1) / MMA_TILE * MMA_TILE;
    size_t clip_bytes = static_cast<size_t>(a->heads) * 2 * side * side * dtype_size(a->qkv.type);
    size_t most = MATRICES_MOST / clip_bytes;
    int part = most < 1 ? 1 : most < static_cast<size_t>(clips) ? static_cast<int>(most) : clips;
    int parts = (clips + part - 1) / part;
    size_t relative = static_cast<size_t>(2 * a->heads) * CHUNKS * (2 * in.frames - 1) * in.size;
    char *memory = static_cast<char *>(cuda_scratch(s, clip_bytes * part + sizeof(float) * relative));
    if (!memory)
        return;
    struct work w = {*a, in, factor, 0, 0, side, memory, reinterpret_cast<float *>(memory + clip_bytes * part)};
    with_mma_tiles(a->qkv.type, in.frames, [&](auto t, auto tiles) {
        for (int i = 0; i < parts; i++) {
            w.first_clip = i * part;
            w.clips = clips - w.first_clip < part ? clips - w.first_clip : part;
            queue_part<decltype(tiles)::value, decltype(t)>(s, w);
        }
    });
    queue_relative_rows(s, a, w.relative, CHUNKS);
}

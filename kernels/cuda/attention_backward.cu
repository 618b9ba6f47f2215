// Disentangled attention, backward: backend.h, struct attention_backward. What suits tensor cores goes to
// attention_mma_backward.cu; here are the kernels for the rest: attention.cuh says how. With P the
// probabilities times dropout and dS the gradient of the scores before the scale:
//
//     dv_j = sum over i of P[i,j] dcontext_i
//     dq_i = sum over j of dS[i,j] (k_j + key_rel[i-j])          dkey_rel[e] = sum over i-j = e of dS[i,j] q_i
//     dk_j = sum over i of dS[i,j] (q_i + query_rel[i-j])        dquery_rel[e] = sum over i-j = e of dS[i,j] k_j
//
// Scratch: P and dS of the clips at hand [clips, heads, L, L] each, which the first kernel writes and the others read;
// and relative gradients by distance [which, heads, chunks, 2L-1, s], which the last kernel adds up, in order, to the
// rows that distances share. Batches whose P and dS would take too much go through in parts.
#include "kernels/cuda/attention_mma.cuh"

namespace
{

struct work {
    struct attention_backward a;
    score_input in;
    float factor;          // 1 / scale
    int first_clip, clips; // of this part
    float *p, *ds;         // [clips, heads, L, L]
    float *relative;       // [2 (key, query), heads, CHUNKS, 2L-1, s]: of the parts so far
};

} // namespace

// Where the matrices of a clip's head begin.
__device__ static inline size_t matrix_at(const struct work &w, int index)
{
    return static_cast<size_t>(index) * w.in.frames * w.in.frames;
}

// ---- P and dS -----------------------------------------------------------------------------------------------------
// A block takes a tile of the queries of one head of one clip.

// p and dp of the tile's elements: the probability, and its gradient times the factor of dropout.
template <int TILE, class T>
__device__ static inline void tile_gradients(const struct work &w, const head_place &at, int i0, int j0,
                                             shared<float> dc, shared<float> v, float dp[2][2])
{
    int column = at.head * w.in.size;
    dp[0][0] = dp[0][1] = dp[1][0] = dp[1][1] = 0;
    for (int d = 0; d < w.in.size; d += TILE) {
        __syncthreads();
        load_clip_rows<TILE, T>(dc, w.a.dcontext, at, i0, column + d, w.in.size - d);
        load_clip_rows<TILE, T>(v, w.in.qkv, at, j0, 2 * w.in.hidden + column + d, w.in.size - d);
        __syncthreads();
        add_products<TILE>(dp, dc, v);
    }
}

// P and dS of the block's elements from the p and dp that are there. A thread reads what it wrote.
template <int TILE>
__device__ static inline void finish_row(const struct work &w, const head_place &at, int row, int i, size_t matrix,
                                         float mean, shared<uint8_t> keep, const dropout_draw &draw)
{
    for (int j = own_column<TILE>(0); j < at.length && i < at.length; j += tile_sizes<TILE>::HALF) {
        size_t index = matrix + static_cast<size_t>(i) * w.in.frames + j;
        float p = w.p[index];
        w.ds[index] = p * (w.ds[index] - mean) * w.factor;
        w.p[index] = p * kept_factor(keep, draw, row, j);
    }
}

template <int TILE, class T>
__global__ void __launch_bounds__(tile_sizes<TILE>::THREADS) scores_backward_kernel(struct work w)
{
    enum { ROWS = tile_sizes<TILE>::ROWS, RELATIVE = tile_sizes<TILE>::DISTANCES * tile_sizes<TILE>::STEP };
    SHARED(float, q, ROWS);
    SHARED(float, k, ROWS);
    SHARED(float, key_rel, RELATIVE);
    SHARED(float, query_rel, RELATIVE);
    SHARED(uint8_t, keep, TILE * FRAMES_MOST / SPAN);
    head_place at = head_place_of(w.a.rows, w.a.heads, w.first_clip * w.a.heads + blockIdx.x);
    int i0 = blockIdx.y * TILE;
    size_t matrix = matrix_at(w, blockIdx.x);
    if (i0 >= at.length)
        return; // the whole block
    dropout_draw draw = dropout_begin(w.a.dropout);
    draw_kept<TILE>(keep, draw, w.a.rows, at, i0);
    float max[2] = {}, sum[2] = {}, mean[2] = {}; // of the thread's two rows
    for (int y = 0; y < 2; y++)
        if (i0 + own_row<TILE>(y) < at.length) {
            size_t index = static_cast<size_t>(at.first + i0 + own_row<TILE>(y)) * w.a.heads + at.head;
            max[y] = w.a.row_max[index];
            sum[y] = w.a.row_sum[index];
        }
    for (int j0 = 0; j0 < at.length; j0 += TILE) {
        float score[2][2], dp[2][2];
        tile_scores<TILE, T>(score, w.in, at, i0, j0, q, k, key_rel, query_rel);
        tile_gradients<TILE, T>(w, at, i0, j0, q, k, dp);
        for (int y = 0; y < 2; y++)
            for (int x = 0; x < 2; x++) {
                int row = own_row<TILE>(y), i = i0 + row, j = j0 + own_column<TILE>(x);
                if (i >= at.length || j >= at.length)
                    continue;
                size_t index = matrix + static_cast<size_t>(i) * w.in.frames + j;
                float p = expf(score[y][x] * w.factor - max[y]) * (1 / sum[y]);
                float d = dp[y][x] * kept_factor(keep, draw, row, j);
                mean[y] += p * d;
                w.p[index] = p;
                w.ds[index] = d;
            }
    }
    for (int y = 0; y < 2; y++) {
        int row = own_row<TILE>(y);
        mean[y] = warp_sum(mean[y], tile_sizes<TILE>::HALF);
        finish_row<TILE>(w, at, row, i0 + row, matrix, mean[y], keep, draw);
    }
}

// ---- dq, dk, dv ---------------------------------------------------------------------------------------------------
// A block takes a tile of the rows of one third of one head of one clip. Its partners are keys for dq, queries for dk
// and dv.

enum third { QUERY, KEY, VALUE };

// m [TILE, TILE] = dS or P for rows r0.. and partners p0.., zeros outside the clip.
template <int TILE>
__device__ static inline void load_matrix(const struct work &w, const head_place &at, size_t matrix, int third, int r0,
                                          int p0, shared<float> m)
{
    const float *from = (third == VALUE ? w.p : w.ds) + matrix;
    for (int n = threadIdx.x; n < TILE * TILE; n += blockDim.x) {
        // Neighbouring threads read neighbouring keys.
        int a = n / TILE, b = n % TILE, r = third == QUERY ? a : b, p = third == QUERY ? b : a;
        int i = third == QUERY ? r0 + r : p0 + p, j = third == QUERY ? p0 + p : r0 + r;
        bool inside = i < at.length && j < at.length;
        m[r * tile_sizes<TILE>::STEP + p] = inside ? from[static_cast<size_t>(i) * w.in.frames + j] : 0;
    }
}

// sum += m (partners + relative rows). The distance of row r and partner p is row e of the relative ones.
template <int TILE>
__device__ static inline void add_partners(float sum[2][2], int third, shared<float> m, shared<float> partners,
                                           shared<float> relative)
{
    enum { STEP = tile_sizes<TILE>::STEP };
    int y0 = own_row<TILE>(0), y1 = own_row<TILE>(1), x0 = own_column<TILE>(0), x1 = own_column<TILE>(1);
    for (int p = 0; p < TILE; p++) {
        float m0 = m[y0 * STEP + p], m1 = m[y1 * STEP + p];
        float b0 = partners[p * STEP + x0], b1 = partners[p * STEP + x1], r00 = 0, r01 = 0, r10 = 0, r11 = 0;
        if (third != VALUE) {
            int e0 = (third == QUERY ? y0 - p : p - y0) + TILE - 1, e1 = (third == QUERY ? y1 - p : p - y1) + TILE - 1;
            r00 = relative[e0 * STEP + x0];
            r01 = relative[e0 * STEP + x1];
            r10 = relative[e1 * STEP + x0];
            r11 = relative[e1 * STEP + x1];
        }
        sum[0][0] += m0 * (b0 + r00);
        sum[0][1] += m0 * (b1 + r01);
        sum[1][0] += m1 * (b0 + r10);
        sum[1][1] += m1 * (b1 + r11);
    }
}

template <int TILE, class T>
__global__ void __launch_bounds__(tile_sizes<TILE>::THREADS) rows_backward_kernel(struct work w)
{
    enum { ROWS = tile_sizes<TILE>::ROWS, RELATIVE = tile_sizes<TILE>::DISTANCES * tile_sizes<TILE>::STEP };
    SHARED(float, m, ROWS);
    SHARED(float, partners, ROWS);
    SHARED(float, relative, RELATIVE);
    head_place at = head_place_of(w.a.rows, w.a.heads, w.first_clip * w.a.heads + blockIdx.x);
    int r0 = blockIdx.y * TILE, third = blockIdx.z, hidden = w.in.hidden, size = w.in.size, column = at.head * size;
    size_t matrix = matrix_at(w, blockIdx.x);
    if (r0 >= at.held)
        return; // the whole block
    for (int d = 0; d < size; d += TILE) {
        float sum[2][2] = {};
        for (int p0 = 0; p0 < at.length && r0 < at.length; p0 += TILE) {
            __syncthreads();
            load_matrix<TILE>(w, at, matrix, third, r0, p0, m);
            if (third == VALUE) {
                load_clip_rows<TILE, T>(partners, w.a.dcontext, at, p0, column + d, size - d);
            } else {
                int from = third == QUERY ? hidden : 0; // keys for dq, queries for dk: relative rows likewise
                load_clip_rows<TILE, T>(partners, w.in.qkv, at, p0, from + column + d, size - d);
                load_relative<TILE, T>(relative, w.in.rel, w.in.slot, w.in.frames, third == QUERY ? r0 - p0 : p0 - r0,
                                       from + column + d, size - d);
            }
            __syncthreads();
            add_partners<TILE>(sum, third, m, partners, relative);
        }
        for (int y = 0; y < 2; y++)
            for (int x = 0; x < 2; x++) {
                int r = r0 + own_row<TILE>(y), c = d + own_column<TILE>(x);
                if (r < at.held && c < size)
                    *mat_at<T>(w.a.dqkv, at.first + r, third * hidden + column + c) = from_float<T>(sum[y][x]);
            }
    }
}

// ---- relative rows ------------------------------------------------------------------------------------------------
// A block takes a tile of distances and a slice of columns, of one head and one of the two gradients, over the clips of
// a chunk. Parts come one after the other, so each adds to what the one before it left.

enum { CHUNKS = SHARES(8, 3) };

// The chunk's clips of this part: [first, end).
__device__ static inline int chunk_first(const struct work &w, int chunk)
{
    return static_cast<int>(static_cast<int64_t>(w.clips) * chunk / CHUNKS);
}

// m [TILE, TILE] = dS at distance e0+e for partner rows p0+p: queries for the keys' relative rows, keys for the
// queries'.
template <int TILE>
__device__ static inline void load_diagonals(const struct work &w, const head_place &at, size_t matrix, int which,
                                             int e0, int p0, shared<float> m)
{
    for (int n = threadIdx.x; n < TILE * TILE; n += blockDim.x) {
        int e = n % TILE, p = n / TILE, distance = e0 + e - (w.in.frames - 1); // i - j
        int i = which == KEY_RELATIVE ? p0 + p : p0 + p + distance, j = i - distance;
        bool inside = i >= 0 && i < at.length && j >= 0 && j < at.length;
        m[e * tile_sizes<TILE>::STEP + p] = inside ? w.ds[matrix + static_cast<size_t>(i) * w.in.frames + j] : 0;
    }
}

template <int TILE, class T>
__global__ void __launch_bounds__(tile_sizes<TILE>::THREADS) relative_backward_kernel(struct work w)
{
    enum { ROWS = tile_sizes<TILE>::ROWS };
    SHARED(float, m, ROWS);
    SHARED(float, partners, ROWS);
    int head = blockIdx.x / CHUNKS, chunk = blockIdx.x % CHUNKS, e0 = blockIdx.y * TILE, which = blockIdx.z % 2;
    int d = blockIdx.z / 2 * TILE, size = w.in.size, distances = 2 * w.in.frames - 1;
    // No two rows of a clip that is not longer than this are so far apart.
    int nearest = max(0, max(e0 - (w.in.frames - 1), w.in.frames - 1 - (e0 + TILE - 1)));
    float sum[2][2] = {};
    for (int clip = chunk_first(w, chunk); clip < chunk_first(w, chunk + 1); clip++) {
        int index = clip * w.a.heads + head;
        head_place at = head_place_of(w.a.rows, w.a.heads, w.first_clip * w.a.heads + index);
        for (int p0 = 0; p0 < at.length && at.length > nearest; p0 += TILE) {
            int column = (which == KEY_RELATIVE ? 0 : w.in.hidden) + head * size + d;
            __syncthreads();
            load_diagonals<TILE>(w, at, matrix_at(w, index), which, e0, p0, m);
            load_clip_rows<TILE, T>(partners, w.in.qkv, at, p0, column, size - d);
            __syncthreads();
            add_partners<TILE>(sum, VALUE, m, partners, partners);
        }
    }
    float *out = w.relative + (static_cast<size_t>(which * w.a.heads + head) * CHUNKS + chunk) * distances * size;
    for (int y = 0; y < 2; y++)
        for (int x = 0; x < 2; x++) {
            int e = e0 + own_row<TILE>(y), c = d + own_column<TILE>(x);
            if (e < distances && c < size)
                out[e * size + c] = w.first_clip == 0 ? sum[y][x] : out[e * size + c] + sum[y][x];
        }
}

// drel: a block takes a row; a thread adds up the distances that share it, of all chunks, for its columns.
template <class T>
__global__ void __launch_bounds__(THREADS)
    relative_rows_kernel(struct attention_backward a, int frames, const float *relative, int chunks)
{
    int row = blockIdx.x, hidden = a.dcontext.columns, size = hidden / a.heads, distances = 2 * frames - 1;
    for (int c = threadIdx.x; c < 2 * hidden; c += blockDim.x) {
        int which = c < hidden ? QUERY_RELATIVE : KEY_RELATIVE, head = c % hidden / size;
        const float *from =
            relative + static_cast<size_t>(which * a.heads + head) * chunks * distances * size + c % hidden % size;
        float sum = 0;
        for (int e = 0; e < distances; e++)
            for (int chunk = 0; chunk < chunks && a.slot[e] == row; chunk++)
                sum += from[(static_cast<size_t>(chunk) * distances + e) * size];
        *mat_at<T>(a.drel, row, c) = from_float<T>(sum);
    }
    zero_columns<T>(a.drel, row, 2 * hidden, 3 * hidden);
}

void queue_relative_rows(struct stream *s, const struct attention_backward *a, const float *relative, int chunks)
{
    int frames = a->rows.frames;
    launch_shape shape = {dim3(static_cast<unsigned>(2 * frames)), dim3(THREADS), 0};
    with_type(a->drel.type,
              [&](auto t) { LAUNCH(s, shape, relative_rows_kernel<decltype(t)>, *a, frames, relative, chunks); });
}

// ---- launcher -----------------------------------------------------------------------------------------------------

constexpr size_t MATRICES_MOST = SHARES(static_cast<size_t>(512) << 20, 24 << 10); // bytes of P and dS at once

template <int TILE, class T> static void queue_part(struct stream *s, const struct work &w)
{
    unsigned heads = static_cast<unsigned>(w.a.heads), each = static_cast<unsigned>(w.clips) * heads;
    unsigned tiles = static_cast<unsigned>((w.in.frames + TILE - 1) / TILE);
    unsigned distance_tiles = static_cast<unsigned>((2 * w.in.frames - 1 + TILE - 1) / TILE);
    unsigned slices = static_cast<unsigned>((w.in.size + TILE - 1) / TILE);
    dim3 block(tile_sizes<TILE>::THREADS);
    LAUNCH(s, (launch_shape{dim3(each, tiles), block, 0}), scores_backward_kernel<TILE, T>, w);
    LAUNCH(s, (launch_shape{dim3(each, tiles, 3), block, 0}), rows_backward_kernel<TILE, T>, w);
    LAUNCH(s, (launch_shape{dim3(heads * CHUNKS, distance_tiles, 2 * slices), block, 0}),
           relative_backward_kernel<TILE, T>, w);
}

void cuda_attention_backward(struct stream *s, const struct attention_backward *a)
{
    int hidden = a->dcontext.columns, size = hidden / a->heads, frames = a->rows.frames, clips = a->rows.clips;
    assert(size * a->heads == hidden && a->qkv.columns == 3 * hidden && a->drel.columns == 3 * hidden);
    assert(a->drel.rows == 2 * frames && a->dqkv.type == a->qkv.type && a->drel.type == a->qkv.type);
    score_input in = {a->qkv, a->rel, a->slot, frames, hidden, size};
    float factor = 1 / sqrtf(3 * static_cast<float>(size));
    with_type(a->dqkv.type, [&](auto t) { queue_zero_tail<decltype(t)>(s, a->rows, a->dqkv); });
    if (mma_suits(s, a->qkv.type, frames, size)) {
        queue_mma_backward(s, a, in, factor);
        return;
    }
    size_t clip_floats = static_cast<size_t>(a->heads) * frames * frames;
    size_t most = MATRICES_MOST / (2 * clip_floats * sizeof(float));
    int part = most < 1 ? 1 : most < static_cast<size_t>(clips) ? static_cast<int>(most) : clips;
    int parts = (clips + part - 1) / part;
    size_t matrices = clip_floats * part,
           relative = static_cast<size_t>(2 * a->heads) * CHUNKS * (2 * frames - 1) * size;
    float *memory = static_cast<float *>(cuda_scratch(s, sizeof(float) * (2 * matrices + relative)));
    if (!memory)
        return;
    struct work w = {*a, in, factor, 0, 0, memory, memory + matrices, memory + 2 * matrices};
    with_type(a->qkv.type, [&](auto t) {
        using T = decltype(t);
        with_tile(frames, [&](auto tile) {
            for (int i = 0; i < parts; i++) {
                w.first_clip = i * part;
                w.clips = clips - w.first_clip < part ? clips - w.first_clip : part;
                queue_part<decltype(tile)::value, T>(s, w);
            }
        });
    });
    queue_relative_rows(s, a, w.relative, CHUNKS);
}

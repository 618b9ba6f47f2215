// Attention on tensor cores: what forward and backward share (attention_mma.cu, attention_mma_backward.cu). For 16-bit
// types, clips of up to FRAMES_LIMIT frames and heads of up to SIZE_LIMIT columns; attention.cu has the others.
//
// Work is cut into tiles of 32 queries by 32 keys of one head of one clip. A block has four warps: warp w takes rows
// 16*(w%2).. of a tile and columns 16*(w/2).. of it. The three products of the scores are made of the same operands:
//
//     S[i,j] = q_i.k_j + A[i, i-j] + B[j, i-j]      A[i,e] = q_i.key_rel[e]      B[j,e] = k_j.query_rel[e]
//
// For a tile at (i0, j0) the relative rows are gathered by distance: row e of 64 is that of i-j = i0-j0 + e-31, so that
// A and B are products of [32, s] by [64, s] of which each warp makes the three tiles of 8 columns of its half that lie
// in the band that its rows meet. They go to shared memory once, to be read along their diagonals.
//
// Operands come in slices of 32 columns of the head, double-buffered: a slice is copied while the one before it is
// multiplied. Scores stay in registers: a lane has, of its tile of keys, s[n][0..3]: rows g and g+8, columns
// 8n + 2t and the next.
#ifndef ISLR_KERNELS_CUDA_ATTENTION_MMA_CUH
#define ISLR_KERNELS_CUDA_ATTENTION_MMA_CUH

#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/mma.cuh"

enum {
    MMA_TILE = 32,
    MMA_THREADS = 128,
    FRAMES_LIMIT = 128,
    SIZE_LIMIT = 96,
    RELATIVE_ROWS = 64,
    SLICE = 32,                 // columns
    SLICE_STEP = SLICE / 2 + 4, // words of a row: eight rows, 16 bytes of each, lie in different banks
    PAIR_PAD = 8,               // behind 32n words of sums: so do the pairs of a half-warp, four rows, 8 words of each
    STAGE_ROWS = 2 * MMA_TILE + 2 * RELATIVE_ROWS,
    STAGE = STAGE_ROWS * SLICE_STEP,
    BAND_STEP = RELATIVE_ROWS + PAIR_PAD,
    BAND = MMA_TILE * BAND_STEP, // words of A or B
    SCORES_WORDS = 2 * STAGE     // of shared memory: two stages, and A and B in their place
};

// A warp's part of a tile, and a lane's of that.
struct mma_place {
    int row, half; // 16*(w%2), w/2
    int g, t;
};

__device__ inline mma_place mma_place_of()
{
    return {warp_index() % 2 * 16, warp_index() / 2, lane_index() / 4, lane_index() % 4};
}

// Words of a row that holds the whole of a head, in steps of 16 columns; rows lie in different banks as above.
__device__ inline int head_step(int size)
{
    return (size + 15) / 16 * 8 + 4;
}

// Begins to copy columns column.. (`left` of them) of `rows` rows to `to`, `spans` times eight columns each; row r is
// row row_of(r) of m, -1: zeros.
template <class T, class F>
__device__ inline void begin_rows(shared<uint32_t> to, int step, const struct mat &m, int rows, int spans, int column,
                                  int left, F row_of)
{
    for (int i = threadIdx.x; i < rows * spans; i += MMA_THREADS) {
        int r = i / spans, c = i % spans * SPAN;
        begin_span<T>(to + (r * step + c / 2), m, row_of(r), column + c, left - c);
    }
}

// Whole rows of the head from i0 on, MMA_TILE of them; column: where the head begins.
template <class T>
__device__ inline void begin_head_rows(shared<uint32_t> to, const struct mat &m, const head_place &at, int i0,
                                       int column, int size)
{
    begin_rows<T>(to, head_step(size), m, MMA_TILE, (size + 15) / 16 * 2, column, size,
                  [&](int r) { return i0 + r < at.length ? at.first + i0 + r : -1; });
}

// The row of `rel` at a distance, or -1.
__device__ inline int relative_row(const score_input &in, int distance)
{
    return distance > -in.frames && distance < in.frames ? in.slot[distance + in.frames - 1] : -1;
}

// Goes through n slices: load(slice, stage) begins the copies of one, use(slice, stage) works on it. By the whole
// block; ends with a barrier.
template <class L, class U> __device__ inline void pipeline(int n, L load, U use)
{
    load(0, 0);
    end_copies();
    for (int d = 0; d < n; d++) {
        if (d + 1 < n) {
            load(d + 1, (d + 1) % 2);
            end_copies();
            wait_copies<1>();
        } else {
            wait_copies<0>();
        }
        __syncthreads();
        use(d, d % 2);
        __syncthreads();
    }
}

// ---- scores -------------------------------------------------------------------------------------------------------

template <class T>
__device__ inline void begin_scores_slice(const score_input &in, const head_place &at, int i0, int j0, int slice,
                                          shared<uint32_t> stage)
{
    int query = at.head * in.size + slice * SLICE, key = in.hidden + query, left = in.size - slice * SLICE;
    shared<uint32_t> k = stage + MMA_TILE * SLICE_STEP, key_rel = k + MMA_TILE * SLICE_STEP,
                     query_rel = key_rel + RELATIVE_ROWS * SLICE_STEP;
    begin_rows<T>(stage, SLICE_STEP, in.qkv, MMA_TILE, SLICE / SPAN, query, left,
                  [&](int r) { return i0 + r < at.length ? at.first + i0 + r : -1; });
    begin_rows<T>(k, SLICE_STEP, in.qkv, MMA_TILE, SLICE / SPAN, key, left,
                  [&](int r) { return j0 + r < at.length ? at.first + j0 + r : -1; });
    auto row_of = [&](int e) { return relative_row(in, i0 - j0 + e - (MMA_TILE - 1)); };
    begin_rows<T>(key_rel, SLICE_STEP, in.rel, RELATIVE_ROWS, SLICE / SPAN, key, left, row_of);
    begin_rows<T>(query_rel, SLICE_STEP, in.rel, RELATIVE_ROWS, SLICE / SPAN, query, left, row_of);
}

// c += a (the transpose of rows.. of b), a and b one slice; two_steps: both halves of the slice have columns.
template <class T>
__device__ inline void add_slice(float c[4], const uint32_t a[2][4], shared<uint32_t> rows, int row, bool two_steps)
{
    uint32_t b[4];
    load_b_transposed(b, rows, SLICE_STEP, row, 0);
    multiply<T>(c, a[0], b);
    if (two_steps)
        multiply<T>(c, a[1], b + 2);
}

// Adds a slice to the warp's scores and to its parts of A and B.
template <class T>
__device__ inline void add_scores_slice(const mma_place &w, shared<uint32_t> stage, bool two_steps, float s[2][4],
                                        float a[3][4], float b[3][4])
{
    uint32_t q[2][4], k[2][4];
    shared<uint32_t> keys = stage + MMA_TILE * SLICE_STEP, key_rel = keys + MMA_TILE * SLICE_STEP,
                     query_rel = key_rel + RELATIVE_ROWS * SLICE_STEP;
    for (int i = 0; i < 2; i++) {
        load_a(q[i], stage, SLICE_STEP, w.row, i * 16);
        load_a(k[i], keys, SLICE_STEP, w.row, i * 16);
    }
#pragma unroll
    for (int n = 0; n < 2; n++)
        add_slice<T>(s[n], q, keys, w.half * 16 + n * 8, two_steps);
#pragma unroll
    for (int n = 0; n < 3; n++) { // the band: e is between row and row+47 for queries, else 16-row and 63-row for keys
        add_slice<T>(a[n], q, key_rel, w.row + w.half * 24 + n * 8, two_steps);
        add_slice<T>(b[n], k, query_rel, 16 - w.row + w.half * 24 + n * 8, two_steps);
    }
}

// A warp's part of A or B to its place, columns from `column` on.
__device__ inline void store_band(shared<uint32_t> band, const mma_place &w, int column, const float c[3][4])
{
#pragma unroll
    for (int n = 0; n < 3; n++)
        for (int i = 0; i < 4; i++)
            band[(w.row + w.g + i / 2 * 8) * BAND_STEP + column + n * 8 + 2 * w.t + i % 2] = bits_of(c[n][i]);
}

// s [2][4]: the warp's scores of the tile of queries from i0 and keys from j0, before the scale. By the whole block;
// memory: SCORES_WORDS.
template <class T>
__device__ inline void mma_scores(float s[2][4], const score_input &in, const head_place &at, int i0, int j0,
                                  shared<uint32_t> memory)
{
    mma_place w = mma_place_of();
    float a[3][4] = {}, b[3][4] = {};
#pragma unroll
    for (int n = 0; n < 2; n++)
        for (int i = 0; i < 4; i++)
            s[n][i] = 0;
    pipeline(
        (in.size + SLICE - 1) / SLICE,
        [&](int d, int stage) { begin_scores_slice<T>(in, at, i0, j0, d, memory + stage * STAGE); },
        [&](int d, int stage) { add_scores_slice<T>(w, memory + stage * STAGE, d * SLICE + 16 < in.size, s, a, b); });
    store_band(memory, w, w.row + w.half * 24, a);
    store_band(memory + BAND, w, 16 - w.row + w.half * 24, b);
    __syncthreads();
#pragma unroll
    for (int n = 0; n < 2; n++)
        for (int x = 0; x < 4; x++) {
            int i = w.row + w.g + x / 2 * 8, j = w.half * 16 + n * 8 + 2 * w.t + x % 2, e = i - j + MMA_TILE - 1;
            s[n][x] += of_bits(memory[i * BAND_STEP + e]) + of_bits(memory[BAND + j * BAND_STEP + e]);
        }
    __syncthreads(); // the memory is free again
}

// ---- rows of scores -----------------------------------------------------------------------------------------------

// v [2]: of the lane's two rows. Together over the four lanes of a row and the two warps that share it, in an order
// that does not depend on who comes first. By the whole block; pair: [2, MMA_TILE] of shared memory.
template <class F> __device__ inline void join_rows(float v[2], const mma_place &w, shared<float> pair, F together)
{
    __syncthreads(); // nobody reads an earlier call's
    for (int y = 0; y < 2; y++) {
        v[y] = together(v[y], __shfl_xor_sync(ALL_LANES, v[y], 1));
        v[y] = together(v[y], __shfl_xor_sync(ALL_LANES, v[y], 2));
        if (w.t == 0)
            pair[w.half * MMA_TILE + w.row + w.g + y * 8] = v[y];
    }
    __syncthreads();
    for (int y = 0; y < 2; y++) {
        int row = w.row + w.g + y * 8;
        v[y] = together(static_cast<float>(pair[row]), static_cast<float>(pair[MMA_TILE + row]));
    }
}

// Factors of dropout, 0 or 1/(1-p), of the lane's elements in the tile of keys from j0. The four lanes of a row need
// four draws of eight elements, for two rows and two times eight columns: each makes one and they exchange them.
__device__ inline void tile_factors(const dropout_draw &draw, const mma_place &w, const int32_t *row_ids, int i0,
                                    int j0, int length, int column, float factor[2][4])
{
    unsigned own = ~0u;
    int i = i0 + w.row + w.g + w.t % 2 * 8, j = j0 + w.half * 16 + w.t / 2 * 8;
    if (draw.on && i < length && j < length)
        own = dropout_kept(draw, static_cast<uint32_t>(row_ids[i]), column + j);
#pragma unroll
    for (int n = 0; n < 2; n++)
        for (int y = 0; y < 2; y++) {
            unsigned kept = __shfl_sync(ALL_LANES, own, n * 2 + y, 4) >> 2 * w.t;
            float scale = draw.on ? draw.scale : 1;
            factor[n][y * 2] = kept & 1 ? scale : 0;
            factor[n][y * 2 + 1] = kept >> 1 & 1 ? scale : 0;
        }
}

// ---- results ------------------------------------------------------------------------------------------------------

// Two neighbouring elements of a row, of which `left` are in it.
template <class T>
__device__ inline void store_pair(const struct mat &m, int row, int column, int left, float x, float y)
{
    T *to = mat_at<T>(m, row, column);
    if (left >= 2 && reinterpret_cast<uintptr_t>(to) % 4 == 0) {
        *reinterpret_cast<uint32_t *>(to) = pack<T>(x, y);
        return;
    }
    if (left >= 1)
        to[0] = from_float<T>(x);
    if (left >= 2)
        to[1] = from_float<T>(y);
}

// ---- launches -----------------------------------------------------------------------------------------------------

// Is it for this file's kernels? Code for cards before sm_80 has fp16 alone on tensor cores.
static inline bool mma_suits(struct stream *s, enum dtype type, int frames, int size)
{
    return frames <= FRAMES_LIMIT && size <= SIZE_LIMIT &&
           (type == DTYPE_F16 || (type == DTYPE_BF16 && cuda_of(s)->code >= 80));
}

// Calls f with a value of the type, and with the number of tiles that hold so many frames (some numbers serve several).
template <class F> void with_mma_tiles(enum dtype type, int frames, F f)
{
    auto with_tiles = [&](auto t) {
        if (frames <= MMA_TILE)
            f(t, tile_constant<1>());
        else if (frames <= 3 * MMA_TILE)
            f(t, tile_constant<3>());
        else
            f(t, tile_constant<4>());
    };
    if (type == DTYPE_BF16)
        with_tiles(bf16());
    else
        with_tiles(fp16());
}

void queue_mma_forward(struct stream *s, const struct attention_forward *a, const score_input &in, float factor);
void queue_mma_backward(struct stream *s, const struct attention_backward *a, const score_input &in, float factor);

// attention_backward.cu: drel from relative [2 (key, query), heads, chunks, 2L-1, s], the relative rows' gradients by
// distance.
enum { KEY_RELATIVE, QUERY_RELATIVE };
void queue_relative_rows(struct stream *s, const struct attention_backward *a, const float *relative, int chunks);

#endif

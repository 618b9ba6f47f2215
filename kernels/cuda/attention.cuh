// What forward and backward of attention share. Work is cut into tiles of one head of one clip: TILE queries by TILE
// keys, or TILE rows by TILE columns of a result; 32, or 16 where clips are long. A block has (TILE/2)^2 threads, and a
// thread 2 x 2 elements of a tile, HALF apart:
//
//     rows y, y+HALF and columns x, x+HALF     with y = thread / HALF, x = thread % HALF
//
// so the threads of a row are neighbours within a warp. What is multiplied comes through shared memory in fp32, in
// slices of TILE columns of a head (so the head's size does not matter), padded by four: rows that neighbouring threads
// read then lie in different banks, 16 bytes at a time.
//
// The relative rows are laid out by distance: of a tile of queries from i0 and keys from j0, row e belongs to
// i-j = i0-j0 + e-(TILE-1), 2*TILE-1 of them.
#ifndef ISLR_KERNELS_CUDA_ATTENTION_CUH
#define ISLR_KERNELS_CUDA_ATTENTION_CUH

#include "kernels/cuda/kernel.cuh"

template <int TILE> struct tile_sizes {
    enum { HALF = TILE / 2, THREADS = HALF * HALF, STEP = TILE + 4, ROWS = TILE * STEP, DISTANCES = 2 * TILE - 1 };
};

enum { LONG_FROM = 129, FRAMES_MOST = 512 }; // frames from which tiles are small; job files allow no more

// One head of one clip.
struct head_place {
    int clip, head;
    int first, held, length; // rows
};

__device__ inline head_place head_place_of(const struct rows &rows, int heads, int index)
{
    int clip = index / heads, first = rows.offset[clip];
    return {clip, index % heads, first, rows.offset[clip + 1] - first, rows.length[clip]};
}

// A thread's part of a tile.
template <int TILE> __device__ inline int own_row(int i)
{
    return threadIdx.x / tile_sizes<TILE>::HALF + i * tile_sizes<TILE>::HALF;
}
template <int TILE> __device__ inline int own_column(int i)
{
    return threadIdx.x % tile_sizes<TILE>::HALF + i * tile_sizes<TILE>::HALF;
}

// to [count, TILE] = columns column.. (`left` of them; zeros behind) of the rows row_of(0).. of m, -1: a row of zeros.
template <int TILE, class T, class F>
__device__ inline void load_rows(shared<float> to, const struct mat &m, int count, int column, int left, F row_of)
{
    enum { SPANS = TILE / SPAN, STEP = tile_sizes<TILE>::STEP };
    for (int i = threadIdx.x; i < count * SPANS; i += blockDim.x) {
        int r = i / SPANS, c = i % SPANS * SPAN, row = row_of(r);
        float v[SPAN] = {};
        if (row >= 0)
            load_span(v, mat_at<const T>(m, row, column + c), left - c);
        store4(to + (r * STEP + c), {v[0], v[1], v[2], v[3]});
        store4(to + (r * STEP + c + 4), {v[4], v[5], v[6], v[7]});
    }
}

// Rows i0.. of a clip's `length`, all those of the tile.
template <int TILE, class T>
__device__ inline void load_clip_rows(shared<float> to, const struct mat &m, const head_place &at, int i0, int column,
                                      int left)
{
    load_rows<TILE, T>(to, m, TILE, column, left, [&](int r) { return i0 + r < at.length ? at.first + i0 + r : -1; });
}

// Relative rows by distance, see above; distance0 = i0 - j0.
template <int TILE, class T>
__device__ inline void load_relative(shared<float> to, const struct mat &rel, const int32_t *slot, int frames,
                                     int distance0, int column, int left)
{
    load_rows<TILE, T>(to, rel, tile_sizes<TILE>::DISTANCES, column, left, [&](int e) {
        int distance = distance0 + e - (TILE - 1);
        return distance > -frames && distance < frames ? slot[distance + frames - 1] : -1;
    });
}

__device__ inline float dot4(float4 a, float4 b)
{
    return a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w;
}

__device__ inline float4 add4(float4 a, float4 b)
{
    return {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w};
}

// sum [2][2] += q_i.(k_j + key_rel) + k_j.query_rel over a slice.
template <int TILE>
__device__ inline void add_scores(float sum[2][2], shared<float> q, shared<float> k, shared<float> key_rel,
                                  shared<float> query_rel)
{
    enum { STEP = tile_sizes<TILE>::STEP, HALF = tile_sizes<TILE>::HALF };
    int y = own_row<TILE>(0), x = own_column<TILE>(0), e = y - x + TILE - 1; // e-HALF, e, e+HALF are met
    for (int d = 0; d < TILE; d += 4) {
        float4 q0 = load4(q + (y * STEP + d)), q1 = load4(q + ((y + HALF) * STEP + d));
        float4 k0 = load4(k + (x * STEP + d)), k1 = load4(k + ((x + HALF) * STEP + d));
        float4 kr = load4(key_rel + (e * STEP + d)), qr = load4(query_rel + (e * STEP + d));
        sum[0][0] += dot4(q0, add4(k0, kr)) + dot4(k0, qr);
        sum[1][1] += dot4(q1, add4(k1, kr)) + dot4(k1, qr);
        kr = load4(key_rel + ((e + HALF) * STEP + d)), qr = load4(query_rel + ((e + HALF) * STEP + d));
        sum[1][0] += dot4(q1, add4(k0, kr)) + dot4(k0, qr);
        kr = load4(key_rel + ((e - HALF) * STEP + d)), qr = load4(query_rel + ((e - HALF) * STEP + d));
        sum[0][1] += dot4(q0, add4(k1, kr)) + dot4(k1, qr);
    }
}

// sum [2][2] += a_i.b_j over a slice.
template <int TILE> __device__ inline void add_products(float sum[2][2], shared<float> a, shared<float> b)
{
    enum { STEP = tile_sizes<TILE>::STEP, HALF = tile_sizes<TILE>::HALF };
    int y = own_row<TILE>(0), x = own_column<TILE>(0);
    for (int d = 0; d < TILE; d += 4) {
        float4 a0 = load4(a + (y * STEP + d)), a1 = load4(a + ((y + HALF) * STEP + d));
        float4 b0 = load4(b + (x * STEP + d)), b1 = load4(b + ((x + HALF) * STEP + d));
        sum[0][0] += dot4(a0, b0);
        sum[0][1] += dot4(a0, b1);
        sum[1][0] += dot4(a1, b0);
        sum[1][1] += dot4(a1, b1);
    }
}

// What scores are made of.
struct score_input {
    struct mat qkv, rel;
    const int32_t *slot;
    int frames, hidden, size; // L, h, s
};

// The scores (before the scale) of the tile of queries from i0 and keys from j0; q, k, key_rel and query_rel are for
// its slices. By the whole block.
template <int TILE, class T>
__device__ inline void tile_scores(float sum[2][2], const score_input &in, const head_place &at, int i0, int j0,
                                   shared<float> q, shared<float> k, shared<float> key_rel, shared<float> query_rel)
{
    int column = at.head * in.size;
    sum[0][0] = sum[0][1] = sum[1][0] = sum[1][1] = 0;
    for (int d = 0; d < in.size; d += TILE) {
        __syncthreads();
        load_clip_rows<TILE, T>(q, in.qkv, at, i0, column + d, in.size - d);
        load_clip_rows<TILE, T>(k, in.qkv, at, j0, in.hidden + column + d, in.size - d);
        load_relative<TILE, T>(key_rel, in.rel, in.slot, in.frames, i0 - j0, in.hidden + column + d, in.size - d);
        load_relative<TILE, T>(query_rel, in.rel, in.slot, in.frames, i0 - j0, column + d, in.size - d);
        __syncthreads();
        add_scores<TILE>(sum, q, k, key_rel, query_rel);
    }
}

// keep [TILE, FRAMES_MOST/8]: bit j%8 of byte j/8 of a query's row: the probability of key j is kept. By the whole
// block, with a barrier before it is read (tile_scores() has some). Nothing is done without dropout.
template <int TILE>
__device__ inline void draw_kept(shared<uint8_t> keep, const dropout_draw &draw, const struct rows &rows,
                                 const head_place &at, int i0)
{
    int blocks = span_count(at.length), column = at.head * span_count(rows.frames) * SPAN;
    for (int i = threadIdx.x; draw.on && i < TILE * blocks; i += blockDim.x) {
        int r = i / blocks, b = i % blocks;
        if (i0 + r < at.length) {
            uint32_t id = static_cast<uint32_t>(rows.id[at.first + i0 + r]);
            keep[r * (FRAMES_MOST / SPAN) + b] = static_cast<uint8_t>(dropout_kept(draw, id, column + b * SPAN));
        }
    }
}

// Factor of query i0+row, key j: 0 or 1/(1-p).
__device__ inline float kept_factor(shared<uint8_t> keep, const dropout_draw &draw, int row, int j)
{
    if (!draw.on)
        return 1;
    int bits = keep[row * (FRAMES_MOST / SPAN) + j / SPAN];
    return bits >> j % SPAN & 1 ? draw.scale : 0;
}

// Zeros to columns [first, end) of a row.
template <class T> __device__ inline void zero_columns(const struct mat &m, int row, int first, int end)
{
    for (int c = first + threadIdx.x; c < end; c += blockDim.x)
        *mat_at<T>(m, row, c) = from_float<T>(0);
}

// Zeros to the rows of the tail: of no clip.
template <class T> __global__ void __launch_bounds__(THREADS) zero_tail_kernel(struct rows rows, struct mat m)
{
    for (int row = rows.offset[rows.clips] + blockIdx.x; row < rows.count; row += gridDim.x)
        zero_columns<T>(m, row, 0, m.columns);
}

enum { TAIL_BLOCKS = SHARES(32, 2) };

template <class T> void queue_zero_tail(struct stream *s, const struct rows &rows, const struct mat &m)
{
    LAUNCH(s, (launch_shape{dim3(TAIL_BLOCKS), dim3(THREADS), 0}), zero_tail_kernel<T>, rows, m);
}

// Calls f with the tile size for clips of so many frames, as a constant.
template <int N> struct tile_constant {
    enum { value = N };
};
template <class F> void with_tile(int frames, F f)
{
    assert(frames <= FRAMES_MOST);
    if (frames < LONG_FROM)
        f(tile_constant<32>());
    else
        f(tile_constant<16>());
}

#endif

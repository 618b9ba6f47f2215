// Disentangled attention, forward: backend.h, struct attention_forward. What suits tensor cores goes to attention_mma.cu;
// here are the kernels for the rest - fp32, which is exact, and very long clips: attention.cuh says how. A block takes a tile of
// the queries of one head of one clip, and all its keys, tile by tile.
#include "kernels/cuda/attention_mma.cuh"

// The row's scores become probabilities; a row's threads hold its columns x, x+HALF, .. and nobody else's. Returns in
// max and sum what the backward needs.
template <int TILE> __device__ static inline void softmax_row(shared<float> row, int length, float *max, float *sum)
{
    enum { HALF = tile_sizes<TILE>::HALF };
    int x = own_column<TILE>(0);
    float highest = -INFINITY, total = 0;
    for (int j = x; j < length; j += HALF)
        highest = fmaxf(highest, row[j]);
    highest = warp_max(highest, HALF);
    for (int j = x; j < length; j += HALF) {
        float e = expf(row[j] - highest);
        row[j] = e;
        total += e;
    }
    *max = highest;
    *sum = warp_sum(total, HALF);
}

// p [TILE, step]: probabilities times dropout, zeros up to whole tiles.
template <int TILE>
__device__ static inline void finish_row(const struct attention_forward &a, const head_place &at, shared<float> row,
                                         int y, int i, shared<uint8_t> keep, const dropout_draw &draw)
{
    enum { HALF = tile_sizes<TILE>::HALF };
    float max = 0, sum = 0;
    bool real = i < at.length;
    softmax_row<TILE>(row, at.length, &max, &sum);
    for (int j = own_column<TILE>(0); j < (at.length + TILE - 1) / TILE * TILE; j += HALF)
        row[j] = real && j < at.length ? row[j] * (1 / sum) * kept_factor(keep, draw, y, j) : 0;
    if (a.row_max && i < at.held && own_column<TILE>(0) == 0) {
        size_t index = static_cast<size_t>(at.first + i) * a.heads + at.head;
        a.row_max[index] = real ? max : 0;
        a.row_sum[index] = real ? sum : 0;
    }
}

// context = p v, a slice at a time.
template <int TILE, class T>
__device__ static inline void write_context(const struct attention_forward &a, const score_input &in,
                                            const head_place &at, int i0, shared<float> p, int step, shared<float> v)
{
    enum { STEP = tile_sizes<TILE>::STEP };
    for (int d = 0; d < in.size; d += TILE) {
        float sum[2][2] = {};
        for (int j0 = 0; j0 < at.length; j0 += TILE) {
            __syncthreads();
            load_clip_rows<TILE, T>(v, in.qkv, at, j0, 2 * in.hidden + at.head * in.size + d, in.size - d);
            __syncthreads();
            for (int j = 0; j < TILE; j++) {
                float p0 = p[own_row<TILE>(0) * step + j0 + j], p1 = p[own_row<TILE>(1) * step + j0 + j];
                float v0 = v[j * STEP + own_column<TILE>(0)], v1 = v[j * STEP + own_column<TILE>(1)];
                sum[0][0] += p0 * v0;
                sum[0][1] += p0 * v1;
                sum[1][0] += p1 * v0;
                sum[1][1] += p1 * v1;
            }
        }
        for (int y = 0; y < 2; y++)
            for (int x = 0; x < 2; x++) {
                int i = i0 + own_row<TILE>(y), c = d + own_column<TILE>(x);
                if (i < at.held && c < in.size)
                    *mat_at<T>(a.context, at.first + i, at.head * in.size + c) = from_float<T>(sum[y][x]);
            }
    }
}

template <int TILE, class T>
__global__ void __launch_bounds__(tile_sizes<TILE>::THREADS)
    attention_forward_kernel(struct attention_forward a, score_input in, float factor, int step)
{
    enum { ROWS = tile_sizes<TILE>::ROWS, RELATIVE = tile_sizes<TILE>::DISTANCES * tile_sizes<TILE>::STEP };
    SHARED(float, q, ROWS);
    SHARED(float, k, ROWS);
    SHARED(float, key_rel, RELATIVE);
    SHARED(float, query_rel, RELATIVE);
    SHARED(uint8_t, keep, TILE * FRAMES_MOST / SPAN);
    DYNAMIC_SHARED(float, p); // [TILE, step]: scores, then probabilities
    head_place at = head_place_of(a.rows, a.heads, blockIdx.x);
    int i0 = blockIdx.y * TILE;
    if (i0 >= at.held)
        return; // the whole block
    dropout_draw draw = dropout_begin(a.dropout);
    draw_kept<TILE>(keep, draw, a.rows, at, i0);
    for (int j0 = 0; j0 < at.length; j0 += TILE) {
        float sum[2][2];
        tile_scores<TILE, T>(sum, in, at, i0, j0, q, k, key_rel, query_rel);
        for (int y = 0; y < 2; y++)
            for (int x = 0; x < 2; x++)
                p[own_row<TILE>(y) * step + j0 + own_column<TILE>(x)] = sum[y][x] * factor;
    }
    for (int y = 0; y < 2; y++) {
        int row = own_row<TILE>(y);
        finish_row<TILE>(a, at, p + row * step, row, i0 + row, keep, draw);
    }
    write_context<TILE, T>(a, in, at, i0, p, step, k);
}

void cuda_attention_forward(struct stream *s, const struct attention_forward *a)
{
    int hidden = a->context.columns, size = hidden / a->heads, frames = a->rows.frames;
    assert(size * a->heads == hidden && a->qkv.columns == 3 * hidden && a->rel.columns == 3 * hidden);
    score_input in = {a->qkv, a->rel, a->slot, frames, hidden, size};
    float factor = 1 / sqrtf(3 * static_cast<float>(size));
    with_type(a->qkv.type, [&](auto t) { queue_zero_tail<decltype(t)>(s, a->rows, a->context); });
    if (mma_suits(s, a->qkv.type, frames, size)) {
        queue_mma_forward(s, a, in, factor);
        return;
    }
    with_type(a->qkv.type, [&](auto t) {
        using T = decltype(t);
        with_tile(frames, [&](auto tile) {
            enum { TILE = decltype(tile)::value };
            int tiles = (frames + TILE - 1) / TILE, step = tiles * TILE + 1;
            dim3 grid(static_cast<unsigned>(a->rows.clips * a->heads), static_cast<unsigned>(tiles));
            launch_shape shape = {grid, dim3(tile_sizes<TILE>::THREADS), sizeof(float) * TILE * step};
            LAUNCH(s, shape, attention_forward_kernel<TILE, T>, *a, in, factor, step);
        });
    });
}

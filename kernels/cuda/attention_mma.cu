// Disentangled attention on tensor cores, forward: backend.h, struct attention_forward; attention_mma.cuh says how. A
// block takes a tile of the queries of one head of one clip, and all its keys: scores become probabilities in registers
// and go from there into the product with the values. The two warps that share rows have different keys: each multiplies
// its own, and their results are added up at the end.
#include "kernels/cuda/attention_mma.cuh"

enum { PAIRS = SIZE_LIMIT / 16, SUM_STEP = SIZE_LIMIT + PAIR_PAD };

// Scores times factor to probabilities times dropout; row_max and row_sum are written where they are wanted.
template <int TILES>
__device__ static inline void mma_softmax(float s[TILES][2][4], const struct attention_forward &a,
                                          const score_input &in, const head_place &at, int i0, float factor,
                                          shared<float> pair)
{
    mma_place w = mma_place_of();
    float highest[2] = {-INFINITY, -INFINITY}, sum[2] = {};
#pragma unroll
    for (int tile = 0; tile < TILES; tile++)
        for (int n = 0; n < 2; n++)
            for (int x = 0; x < 4; x++) {
                int j = tile * MMA_TILE + w.half * 16 + n * 8 + 2 * w.t + x % 2;
                s[tile][n][x] = j < at.length ? s[tile][n][x] * factor : -INFINITY;
                highest[x / 2] = fmaxf(highest[x / 2], s[tile][n][x]);
            }
    join_rows(highest, w, pair, [](float x, float y) { return fmaxf(x, y); });
#pragma unroll
    for (int tile = 0; tile < TILES; tile++)
        for (int n = 0; n < 2; n++)
            for (int x = 0; x < 4; x++) {
                s[tile][n][x] = expf(s[tile][n][x] - highest[x / 2]);
                sum[x / 2] += s[tile][n][x];
            }
    join_rows(sum, w, pair, [](float x, float y) { return x + y; });
    dropout_draw draw = dropout_begin(a.dropout);
    int column = at.head * span_count(in.frames) * SPAN;
    float share[2];
    for (int y = 0; y < 2; y++) {
        int i = i0 + w.row + w.g + y * 8;
        bool real = i < at.length;
        share[y] = real ? 1 / sum[y] : 0;
        if (a.row_max && i < at.held && w.t == 0 && w.half == 0) {
            size_t index = static_cast<size_t>(at.first + i) * a.heads + at.head;
            a.row_max[index] = real ? highest[y] : 0;
            a.row_sum[index] = real ? sum[y] : 0;
        }
    }
#pragma unroll
    for (int tile = 0; tile < TILES; tile++) {
        float kept[2][4];
        tile_factors(draw, w, a.rows.id + at.first, i0, tile * MMA_TILE, at.length, column, kept);
        for (int n = 0; n < 2; n++)
            for (int x = 0; x < 4; x++) // rows that are not real: their scores are of no account
                s[tile][n][x] = share[x / 2] == 0 ? 0 : s[tile][n][x] * share[x / 2] * kept[n][x];
    }
}

// c [16, s] += the warp's probabilities in a tile of keys times its 16 rows of the values there.
template <class T>
__device__ static inline void add_values(float c[PAIRS][2][4], const float p[2][4], shared<uint32_t> values, int step,
                                         int size, int half)
{
    uint32_t a[4] = {pack<T>(p[0][0], p[0][1]), pack<T>(p[0][2], p[0][3]), pack<T>(p[1][0], p[1][1]),
                     pack<T>(p[1][2], p[1][3])};
#pragma unroll
    for (int n = 0; n < PAIRS; n++) {
        uint32_t b[4];
        if (n * 16 >= size)
            break;
        load_b(b, values, step, half * 16, n * 16);
        multiply<T>(c[n][0], a, b);
        multiply<T>(c[n][1], a, b + 2);
    }
}

// The two halves' sums, added up, to the context. sums: [MMA_TILE, SUM_STEP].
template <class T>
__device__ static inline void store_context(const struct attention_forward &a, const score_input &in,
                                            const head_place &at, int i0, const float c[PAIRS][2][4],
                                            shared<uint32_t> sums)
{
    mma_place w = mma_place_of();
    __syncthreads(); // the values were here
#pragma unroll
    for (int n = 0; n < PAIRS; n++)
        for (int x = 0; x < 8; x++)
            if (n * 16 < in.size && w.half == 1)
                sums[(w.row + w.g + x / 2 % 2 * 8) * SUM_STEP + n * 16 + x / 4 * 8 + 2 * w.t + x % 2] =
                    bits_of(c[n][x / 4][x % 4]);
    __syncthreads();
#pragma unroll
    for (int n = 0; n < PAIRS; n++)
        for (int y = 0; y < 4; y++) { // n-tile y/2, row y%2
            int row = w.row + w.g + y % 2 * 8, column = n * 16 + y / 2 * 8 + 2 * w.t, i = i0 + row;
            if (w.half == 1 || i >= at.held || column >= in.size)
                continue;
            const float *own = &c[n][y / 2][y % 2 * 2];
            store_pair<T>(a.context, at.first + i, at.head * in.size + column, in.size - column,
                          own[0] + of_bits(sums[row * SUM_STEP + column]),
                          own[1] + of_bits(sums[row * SUM_STEP + column + 1]));
        }
}

template <int TILES, class T>
__global__ void __launch_bounds__(MMA_THREADS)
    mma_forward_kernel(struct attention_forward a, score_input in, float factor)
{
    SHARED(uint32_t, memory, SCORES_WORDS); // for the scores, then for the values, then for the sums
    SHARED(float, pair, 2 * MMA_TILE);
    head_place at = head_place_of(a.rows, a.heads, blockIdx.x);
    int i0 = blockIdx.y * MMA_TILE, step = head_step(in.size), column = 2 * in.hidden + at.head * in.size;
    if (i0 >= at.held)
        return; // the whole block
    float s[TILES][2][4] = {}, context[PAIRS][2][4] = {};
#pragma unroll
    for (int tile = 0; tile < TILES; tile++)
        if (tile * MMA_TILE < at.length)
            mma_scores<T>(s[tile], in, at, i0, tile * MMA_TILE, memory);
    for (int tile = 0; tile < TILES && tile * MMA_TILE < at.length; tile++)
        begin_head_rows<T>(memory + tile * MMA_TILE * step, in.qkv, at, tile * MMA_TILE, column, in.size);
    end_copies();
    mma_softmax<TILES>(s, a, in, at, i0, factor, pair);
    wait_copies<0>();
    __syncthreads();
#pragma unroll
    for (int tile = 0; tile < TILES; tile++)
        if (tile * MMA_TILE < at.length)
            add_values<T>(context, s[tile], memory + tile * MMA_TILE * step, step, in.size, mma_place_of().half);
    store_context<T>(a, in, at, i0, context, memory);
}

static_assert(FRAMES_LIMIT * (SIZE_LIMIT / 2 + 4) <= SCORES_WORDS, "the values of a clip fit");
static_assert(MMA_TILE * SUM_STEP <= SCORES_WORDS && 2 * BAND <= SCORES_WORDS, "sums and bands fit");
static_assert(BAND_STEP % 32 == PAIR_PAD && SUM_STEP % 32 == PAIR_PAD, "their rows lie in different banks");

void queue_mma_forward(struct stream *s, const struct attention_forward *a, const score_input &in, float factor)
{
    dim3 grid(static_cast<unsigned>(a->rows.clips * a->heads),
              static_cast<unsigned>((in.frames + MMA_TILE - 1) / MMA_TILE));
    with_mma_tiles(a->qkv.type, in.frames, [&](auto t, auto tiles) {
        LAUNCH(s, (launch_shape{grid, dim3(MMA_THREADS), 0}), mma_forward_kernel<decltype(tiles)::value, decltype(t)>,
               *a, in, factor);
    });
}

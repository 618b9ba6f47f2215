// The host's twins of the instructions in kernels/cuda/mma.cuh, which includes this: the same fragments in the same
// lanes.
#ifndef ISLR_TESTS_CUDAHOST_MMA_H
#define ISLR_TESTS_CUDAHOST_MMA_H

template <class T> static inline uint32_t cudahost_half_bits(float x)
{
    T half = from_float<T>(x);
    uint16_t bits;
    memcpy(&bits, &half, sizeof bits);
    return bits;
}

template <class T> uint32_t pack(float low, float high)
{
    return cudahost_half_bits<T>(low) | cudahost_half_bits<T>(high) << 16;
}

template <class T> void multiply(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    const uint32_t words[] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    const auto *all = cudahost::warp_exchange_words(0xffffffffu, words, 6, {"mma", __FILE__, __LINE__});
    int lane = cudahost_lane(), g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; i++) {
        int row = g + i / 2 * 8, column = 2 * t + i % 2;
        float sum = 0;
        for (int k = 0; k < 16; k++) {
            uint32_t x = all[row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2];
            uint32_t y = all[column * 4 + k % 8 / 2][4 + k / 8];
            sum += low_half<T>(x >> k % 2 * 16) * low_half<T>(y >> k % 2 * 16);
        }
        c[i] += sum;
    }
}

// Where the lanes' rows begin, as indices. Eight rows make a matrix, 16 bytes of each: a card takes them at once if they
// lie in different banks, which kernels see to.
static inline const uint32_t (*cudahost_rows(const shared<uint32_t> &row, const char *name))[cudahost::EXCHANGE_WORDS]
{
    row.check_alignment(16);
    uint32_t at = static_cast<uint32_t>(row.index());
    const auto *rows = cudahost::warp_exchange_words(0xffffffffu, &at, 1, {name, __FILE__, __LINE__});
    for (int i = cudahost_lane() / 8 * 8, end = i + 8; i < end; i++)
        if (rows[i][0] != at && (rows[i][0] - at) % 32 == 0)
            cudahost::end_kernel("%s: the rows of lanes %d and %d lie in the same banks", name, cudahost_lane(), i);
    return rows;
}

static inline void load_matrices(uint32_t to[4], const shared<uint32_t> &row)
{
    const auto *rows = cudahost_rows(row, "ldmatrix");
    int lane = cudahost_lane();
    for (int q = 0; q < 4; q++)
        to[q] = row.at_index(rows[q * 8 + lane / 4][0] + lane % 4);
}

static inline void load_matrices_transposed(uint32_t to[4], const shared<uint32_t> &row)
{
    const auto *rows = cudahost_rows(row, "ldmatrix.trans");
    int lane = cudahost_lane(), column = lane / 4;
    for (int q = 0; q < 4; q++) {
        uint32_t half[2];
        for (int i = 0; i < 2; i++)
            half[i] = row.at_index(rows[q * 8 + lane % 4 * 2 + i][0] + column / 2) >> column % 2 * 16 & 0xffff;
        to[q] = half[0] | half[1] << 16;
    }
}

template <int WIDTH> void begin_copy(const shared<uint32_t> &to, const void *from, int bytes)
{
    uint32_t words[WIDTH / 4] = {};
    to.check_alignment(WIDTH);
    if (reinterpret_cast<uintptr_t>(from) % WIDTH)
        cudahost::end_kernel("a copy of %d bytes from %p, which is not aligned to that", WIDTH, from);
    memcpy(words, from, static_cast<size_t>(bytes));
    for (int i = 0; i < WIDTH / 4; i++)
        to.begin_copy(i, words[i]);
}

static inline void end_copies()
{
    cudahost::copies_end_group();
}

template <int N> void wait_copies()
{
    cudahost::copies_wait(N);
}

static inline uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#endif

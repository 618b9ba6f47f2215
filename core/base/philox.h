// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2,
// 3", SC'11). A value depends on its key and counter alone, so results depend neither on the number of threads or ranks
// nor on the order of the draws, and CPU and CUDA draw the same.
#ifndef ISLR_BASE_PHILOX_H
#define ISLR_BASE_PHILOX_H

#include <stdint.h>

#if defined(__CUDACC__)
#define PHILOX_FUNCTION static inline __host__ __device__
#else
#define PHILOX_FUNCTION static inline
#endif

struct philox_block {
    uint32_t v[4];
};

PHILOX_FUNCTION struct philox_block philox4x32(uint64_t seed, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3)
{
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return (struct philox_block){{c0, c1, c2, c3}};
}

// What a stream of draws is for: the high byte of the counter's last word. Never renumber: runs must stay reproducible.
enum rng_purpose {
    RNG_INIT = 1,    // initial weights;         a: tensor index
    RNG_SHUFFLE = 2, // order of the clips;      a: epoch
    RNG_AUGMENT = 3, // a clip's augmentation;   a: clip, b: epoch, detail: view
    RNG_MIXUP = 4,   // manifold mixup;          a: group in the batch, b: step, detail: what
    RNG_DROPOUT = 5, // dropout masks, drawn by the kernels themselves (kernels/backend.h, struct dropout)
    RNG_FOLDS = 6,
    RNG_SYNTH = 7,
    RNG_BENCH = 8
};

// A sequence of draws from the stream (seed, purpose, detail, a, b). A plain value: copy it to fork it.
struct rng {
    uint64_t seed;
    uint32_t a, b, purpose; // purpose: enum rng_purpose << 24 | detail
    uint32_t next;          // index of the next block
    int left;               // unused words of `block`
    struct philox_block block;
};

PHILOX_FUNCTION struct rng rng_make(uint64_t seed, enum rng_purpose purpose, uint32_t detail, uint32_t a, uint32_t b)
{
    struct rng r = {seed, a, b, (uint32_t)purpose << 24 | (detail & 0xFFFFFFu), 0, 0, {{0, 0, 0, 0}}};
    return r;
}

PHILOX_FUNCTION uint32_t rng_u32(struct rng *r)
{
    if (r->left == 0) {
        r->block = philox4x32(r->seed, r->next++, r->a, r->b, r->purpose);
        r->left = 4;
    }
    return r->block.v[4 - r->left--];
}

// Uniform in [0,1), 24 bits.
PHILOX_FUNCTION float rng_uniform(struct rng *r)
{
    return (float)(rng_u32(r) >> 8) * 0x1p-24f;
}

// Uniform in [0,1), 53 bits.
PHILOX_FUNCTION double rng_uniform_double(struct rng *r)
{
    uint64_t high = rng_u32(r) >> 5, low = rng_u32(r) >> 6;
    return (double)(high << 26 | low) * 0x1p-53;
}

// Uniform integer in [0,n), n >= 1, without bias (Lemire's method).
PHILOX_FUNCTION uint32_t rng_below(struct rng *r, uint32_t n)
{
    uint64_t m = (uint64_t)rng_u32(r) * n;
    if ((uint32_t)m < n) {
        uint32_t threshold = (0u - n) % n;
        while ((uint32_t)m < threshold)
            m = (uint64_t)rng_u32(r) * n;
    }
    return (uint32_t)(m >> 32);
}

#endif

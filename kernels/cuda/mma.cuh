// Tensor cores: products of 16-bit matrices with fp32 sums, how their operands come out of shared memory, and copies to
// shared memory that go on beside the computation. Each function is one or two instructions; where kernels are compiled
// for the host, tests/cudahost/mma.h moves the same fragments between the same lanes.
//
// Operands lie in shared memory as 32-bit words, two elements each, the earlier one in the low half; a row begins at a
// multiple of 16 bytes. With g = lane/4 and t = lane%4 a lane holds, of
//   a [16, 16]: a[0] row g, a[1] row g+8: columns 2t, 2t+1;  a[2], a[3]: the same rows, columns 2t+8, 2t+9
//   b [16, 8]:  b[0] rows 2t, 2t+1, b[1] rows 2t+8, 2t+9: column g
//   c [16, 8]:  c[0], c[1] row g, c[2], c[3] row g+8: columns 2t, 2t+1
// (PTX ISA, "Matrix Fragments for mma.m16n8k16").
#ifndef ISLR_KERNELS_CUDA_MMA_CUH
#define ISLR_KERNELS_CUDA_MMA_CUH

#include "kernels/cuda/kernel.cuh"

// Two elements as a word.
template <class T> __device__ uint32_t pack(float low, float high);

// The elements of a word.
template <class T> __device__ inline float low_half(uint32_t word)
{
    T x;
    uint16_t bits = static_cast<uint16_t>(word);
    memcpy(static_cast<void *>(&x), &bits, sizeof x);
    return to_float(x);
}

// c += a b.
template <class T> __device__ void multiply(float c[4], const uint32_t a[4], const uint32_t b[2]);

#ifdef ISLR_CUDAHOST
#include "tests/cudahost/mma.h"
#else

template <> __device__ inline uint32_t pack<bf16>(float low, float high)
{
    __nv_bfloat162 x = __floats2bfloat162_rn(low, high);
    uint32_t word;
    memcpy(&word, &x, sizeof word);
    return word;
}

template <> __device__ inline uint32_t pack<fp16>(float low, float high)
{
    __half2 x = __floats2half2_rn(low, high);
    uint32_t word;
    memcpy(&word, &x, sizeof word);
    return word;
}

// Cards before sm_80 have no bf16 here: the backend does not send them any.
template <> __device__ inline void multiply<bf16>(float c[4], const uint32_t a[4], const uint32_t b[2])
{
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    __trap();
#endif
}

template <> __device__ inline void multiply<fp16>(float c[4], const uint32_t a[4], const uint32_t b[2])
{
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else // the halves of k one after the other
    for (int k = 0; k < 2; k++)
        asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                     : "r"(a[2 * k]), "r"(a[2 * k + 1]), "r"(b[k]));
#endif
}

// Four matrices of 8 x 8: matrix q has its row r where lane 8q+r says, and goes to word q: row g, columns 2t and 2t+1.
// Transposed: rows 2t and 2t+1, column g.
__device__ inline void load_matrices(uint32_t to[4], shared<uint32_t> row)
{
    uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(at)
                 : "memory");
}

__device__ inline void load_matrices_transposed(uint32_t to[4], shared<uint32_t> row)
{
    uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(at)
                 : "memory");
}

// Begins a copy of WIDTH (8 or 16) bytes from global memory, both addresses multiples of WIDTH: the first `bytes` of
// them, zeros behind. It is done, for the thread that began it, when wait_copies() returns.
template <int WIDTH> __device__ inline void begin_copy(shared<uint32_t> to, const void *from, int bytes)
{
    static_assert(WIDTH == 8 || WIDTH == 16, "");
#if __CUDA_ARCH__ >= 800
    uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(to));
    if (WIDTH == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(bytes) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(at), "l"(from), "r"(bytes) : "memory");
#else
    uint2 words[WIDTH / 8] = {};
    const uint16_t *halves = static_cast<const uint16_t *>(from);
    if (bytes == WIDTH) {
        for (int i = 0; i < WIDTH / 8; i++)
            words[i] = static_cast<const uint2 *>(from)[i];
    } else {
        for (int i = 0; i < WIDTH / 2; i++) {
            uint32_t x = 2 * i < bytes ? static_cast<uint32_t>(halves[i]) << i % 2 * 16 : 0;
            (i % 4 < 2 ? words[i / 4].x : words[i / 4].y) |= x;
        }
    }
    for (int i = 0; i < WIDTH / 8; i++)
        reinterpret_cast<uint2 *>(to)[i] = words[i];
#endif
}

// Ends a group of copies; wait_copies<N> waits for all but the thread's last N groups.
__device__ inline void end_copies()
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

template <int N> __device__ inline void wait_copies()
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
}

__device__ inline uint32_t bits_of(float x)
{
    return __float_as_uint(x);
}

__device__ inline float of_bits(uint32_t x)
{
    return __uint_as_float(x);
}
#endif

// ---- tiles --------------------------------------------------------------------------------------------------------

// a [16, 16] of a matrix stored row by row: rows row.., columns column.. (a multiple of 8).
__device__ inline void load_a(uint32_t a[4], shared<uint32_t> m, int step, int row, int column)
{
    int lane = lane_index();
    load_matrices(a, m + ((row + lane % 16) * step + column / 2 + lane / 16 * 4));
}

// a [16, 16] of the transpose of what is stored: a[i][k] = m[row of k][column of i].
__device__ inline void load_a_transposed(uint32_t a[4], shared<uint32_t> m, int step, int row, int column)
{
    int lane = lane_index(), quarter = lane / 8;
    load_matrices_transposed(a, m + ((row + quarter / 2 * 8 + lane % 8) * step + column / 2 + quarter % 2 * 4));
}

// b [32, 8] of the transpose of what is stored, as two of [16, 8]: b[k][n] = m[row+n][column+k].
__device__ inline void load_b_transposed(uint32_t b[4], shared<uint32_t> m, int step, int row, int column)
{
    int lane = lane_index();
    load_matrices(b, m + ((row + lane % 8) * step + column / 2 + lane / 8 * 4));
}

// b [16, 16] of a matrix stored row by row, as two of [16, 8] side by side.
__device__ inline void load_b(uint32_t b[4], shared<uint32_t> m, int step, int row, int column)
{
    int lane = lane_index();
    load_matrices_transposed(b, m + ((row + lane % 16) * step + column / 2 + lane / 16 * 4));
}

// Begins to bring eight elements of a row to shared memory: `left` of them (may be less than 1), zeros behind; row -1:
// zeros. Where the address does not allow a copy beside the computation, they are there at once.
template <class T>
__device__ inline void begin_span(shared<uint32_t> to, const struct mat &m, int row, int column, int left)
{
    int count = row < 0 ? 0 : min(max(left, 0), static_cast<int>(SPAN)), bytes = count * static_cast<int>(sizeof(T));
    const T *from = count ? mat_at<const T>(m, row, column) : static_cast<const T *>(m.data);
    uintptr_t address = reinterpret_cast<uintptr_t>(from);
    if (address % 16 == 0) {
        begin_copy<16>(to, from, bytes);
    } else if (address % 8 == 0) {
        // The second half's address is of no account where nothing is read from it.
        begin_copy<8>(to, from, min(bytes, 8));
        begin_copy<8>(to + 2, bytes > 8 ? from + 4 : from, max(bytes - 8, 0));
    } else {
        for (int i = 0; i < SPAN; i += 2)
            to[i / 2] = pack<T>(i < count ? to_float(from[i]) : 0, i + 1 < count ? to_float(from[i + 1]) : 0);
    }
}

#endif

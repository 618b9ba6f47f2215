// The host model catches what it should: small kernels, right ones and deliberately wrong ones.
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <vector>

extern "C" {
#include <cmocka.h>
}

#include "kernels/cuda/mma.cuh"
#include "tests/cudahost/cudahost.h"

// A device and some of its memory.
struct rig {
    struct backend *backend;
    struct stream *stream;
    float *x;
    enum { COUNT = 4096 };
};

static struct rig rig_make(int order)
{
    struct error e = {};
    struct rig r = {backend_cudahost_open(order, &e), nullptr, nullptr};
    assert_non_null(r.backend);
    r.stream = r.backend->op->stream_create(r.backend, &e);
    r.x = static_cast<float *>(r.backend->op->allocate(r.backend, r.COUNT * sizeof(float), &e));
    return r;
}

static void rig_free(struct rig *r)
{
    cudahost_reset();
    r->backend->op->release(r->backend, r->x);
    r->backend->op->stream_destroy(r->stream);
    r->backend->op->close(r->backend);
}

// Runs a kernel of one array, in one block or more.
template <class K> static std::vector<float> run(int order, K kernel, unsigned blocks, unsigned threads)
{
    struct rig r = rig_make(order);
    struct error e = {};
    std::vector<float> x(r.COUNT);
    LAUNCH(r.stream, (launch_shape{dim3(blocks), dim3(threads), 0}), kernel, r.x);
    r.stream->op->download(r.stream, x.data(), r.x, x.size() * sizeof(float));
    if (r.stream->op->synchronize(r.stream, &e))
        fail_msg("%s", e.text);
    rig_free(&r);
    return x;
}

// The kernel must be ended with a report that has these words, and the stream must tell.
#define EXPECT_REPORT(kernel, ...) expect_report(#kernel, kernel, __VA_ARGS__)
template <class K>
static void expect_report(const char *name, K kernel, unsigned threads, const char *words, const char *more = "")
{
    for (int order = 1; order <= 3; order += 2) {
        struct rig r = rig_make(order);
        struct error e = {};
        launch_kernel(r.stream, name, {dim3(2), dim3(threads), 0}, kernel, r.x);
        assert_int_equal(r.stream->op->synchronize(r.stream, &e), -1);
        assert_ptr_equal(strstr(cudahost_report(), name), cudahost_report() + strlen("kernel "));
        if (!strstr(cudahost_report(), words) || !strstr(cudahost_report(), more))
            fail_msg("the report is '%s', it should have '%s' and '%s'", cudahost_report(), words, more);
        assert_non_null(strstr(e.text, cudahost_report()));
        // What comes after it fails too.
        LAUNCH(r.stream, (launch_shape{dim3(1), dim3(32), 0}), kernel, r.x);
        assert_int_equal(r.stream->op->synchronize(r.stream, &e), -1);
        rig_free(&r);
    }
}

// ---- what is right ------------------------------------------------------------------------------------------------

__global__ void reverse_kernel(float *x)
{
    SHARED(float, tile, 64);
    tile[threadIdx.x] = static_cast<float>(threadIdx.x);
    __syncthreads();
    x[blockIdx.x * 64 + threadIdx.x] = tile[63 - threadIdx.x];
}

__global__ void warp_kernel(float *x)
{
    int lane = lane_index(), sum = warp_sum(lane), half = warp_sum(lane, 16);
    unsigned odd = __ballot_sync(ALL_LANES, lane % 2);
    int down = __shfl_down_sync(ALL_LANES, lane, 3), first = __shfl_sync(ALL_LANES, lane, 5, 8);
    double wide = __shfl_xor_sync(ALL_LANES, lane + 0.5, 1);
    bool good = sum == 496 && half == (lane < 16 ? 120 : 376) && odd == 0xaaaaaaaa && wide == (lane ^ 1) + 0.5;
    good &= down == (lane < 29 ? lane + 3 : lane) && first == lane / 8 * 8 + 5;
    good &= __any_sync(ALL_LANES, lane == 7) && !__all_sync(ALL_LANES, lane != 7);
    x[threadIdx.x] = good;
}

// Lanes exchange values in shared memory with a barrier of their warp alone.
__global__ void warp_barrier_kernel(float *x)
{
    SHARED(int, given, 64);
    given[threadIdx.x] = lane_index();
    __syncwarp();
    x[threadIdx.x] = static_cast<float>(given[threadIdx.x ^ 1]);
}

__global__ void sum_kernel(float *x)
{
    x[threadIdx.x] = block_sum(static_cast<float>(threadIdx.x)) + block_max(static_cast<float>(threadIdx.x));
}

__global__ void count_kernel(float *x)
{
    int *counters = reinterpret_cast<int *>(x);
    atomicAdd(&counters[0], 1);
    atomicMax(&counters[1], static_cast<int>(threadIdx.x));
    atomicMin(&counters[2], -static_cast<int>(threadIdx.x));
    atomicCAS(&counters[3], 0, 5);
}

static void test_right(void **)
{
    for (int order = 1; order <= 3; order += 2) {
        std::vector<float> x = run(order, reverse_kernel, 3, 64);
        for (int i = 0; i < 192; i++)
            assert_true(x[i] == static_cast<float>(63 - i % 64));
        x = run(order, warp_kernel, 1, 64);
        for (int i = 0; i < 64; i++)
            assert_true(x[i] == 1);
        x = run(order, warp_barrier_kernel, 1, 64);
        for (int i = 0; i < 64; i++)
            assert_true(x[i] == static_cast<float>((i ^ 1) % 32));
        x = run(order, sum_kernel, 1, 96);
        for (int i = 0; i < 96; i++)
            assert_true(x[i] == 95 * 48 + 95);
        int counters[4];
        x = run(order, count_kernel, 5, 40);
        memcpy(counters, x.data(), sizeof counters);
        assert_int_equal(counters[0], 200);
        assert_int_equal(counters[1], 39);
        assert_int_equal(counters[2], -39);
        assert_int_equal(counters[3], 5);
    }
}

// Float atomics do not compile: their order would show in the bits.
template <class T, class = void> struct has_atomic_add : std::false_type {
};
template <class T>
struct has_atomic_add<T, std::void_t<decltype(atomicAdd(static_cast<T *>(nullptr), T()))>> : std::true_type {
};
static_assert(has_atomic_add<int>::value && !has_atomic_add<float>::value && !has_atomic_add<double>::value,
              "atomics are for integers");

// ---- what is wrong ------------------------------------------------------------------------------------------------

__global__ void two_barriers_kernel(float *x)
{
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
    x[threadIdx.x] = 1;
}

__global__ void early_end_kernel(float *x)
{
    if (threadIdx.x == 40)
        return;
    __syncthreads();
    x[threadIdx.x] = 1;
}

__global__ void lanes_apart_kernel(float *x)
{
    if (threadIdx.x % 2)
        x[threadIdx.x] = static_cast<float>(__shfl_xor_sync(ALL_LANES, 1, 1));
}

__global__ void lane_and_block_kernel(float *x)
{
    if (threadIdx.x == 3)
        __syncthreads();
    else
        x[threadIdx.x] = static_cast<float>(__ballot_sync(ALL_LANES, 1));
}

__global__ void wrong_mask_kernel(float *x)
{
    x[threadIdx.x] = static_cast<float>(__ballot_sync(0xffff, 1));
}

__global__ void outside_mask_kernel(float *x)
{
    if (threadIdx.x < 16)
        x[threadIdx.x] = static_cast<float>(__shfl_sync(0xffff, 1, 20));
}

__global__ void unwritten_kernel(float *x)
{
    SHARED(float, tile, 64);
    if (threadIdx.x != 50)
        tile[threadIdx.x] = 1;
    __syncthreads();
    x[threadIdx.x] = tile[63 - threadIdx.x];
}

// The first block writes what the second would read.
__global__ void other_block_kernel(float *x)
{
    SHARED(float, tile, 1);
    if (blockIdx.x == 0 && threadIdx.x == 0)
        tile[0] = 1;
    __syncthreads();
    if (threadIdx.x == 0)
        x[blockIdx.x] = tile[0];
}

__global__ void no_barrier_kernel(float *x)
{
    SHARED(float, tile, 64);
    tile[threadIdx.x] = 1;
    if (threadIdx.x == 63 || threadIdx.x == 0)
        x[threadIdx.x] = tile[63 - threadIdx.x];
    __syncthreads();
}

// A barrier of the warp does not order two warps.
__global__ void weak_barrier_kernel(float *x)
{
    SHARED(float, tile, 64);
    tile[threadIdx.x] = 1;
    __syncwarp();
    x[threadIdx.x] = tile[threadIdx.x ^ 32];
}

__global__ void overwrite_kernel(float *x)
{
    SHARED(float, tile, 64);
    tile[threadIdx.x] = 1;
    __syncthreads();
    x[threadIdx.x] = tile[63 - threadIdx.x];
    tile[threadIdx.x] = 2;
}

__global__ void both_write_kernel(float *)
{
    SHARED(float, tile, 32);
    tile[threadIdx.x / 2] = 1;
}

__global__ void beyond_kernel(float *)
{
    SHARED(float, tile, 32);
    tile[threadIdx.x] = 1;
}

__global__ void misaligned_kernel(float *x)
{
    SHARED(float, tile, 64);
    tile[threadIdx.x] = 1;
    __syncthreads();
    if (threadIdx.x == 0)
        x[0] = load4(tile + 2).x;
}

__global__ void too_much_kernel(float *)
{
    SHARED(float, one, 8192);
    SHARED(float, two, 8192);
    one[threadIdx.x] = 1;
    two[threadIdx.x] = 1;
}

// Lanes copy 16 bytes each.
__global__ void unawaited_kernel(float *x)
{
    SHARED(uint32_t, tile, 128);
    begin_copy<16>(tile + threadIdx.x * 4, x + threadIdx.x * 4, 16);
    end_copies();
    wait_copies<1>(); // for all but this one
    x[threadIdx.x] = of_bits(tile[threadIdx.x * 4]);
}

__global__ void uncommitted_kernel(float *x)
{
    SHARED(uint32_t, tile, 128);
    begin_copy<16>(tile + threadIdx.x * 4, x + threadIdx.x * 4, 16);
    wait_copies<0>();
    x[threadIdx.x] = of_bits(tile[threadIdx.x * 4]);
}

__global__ void left_behind_kernel(float *x)
{
    SHARED(uint32_t, tile, 128);
    begin_copy<16>(tile + threadIdx.x * 4, x + threadIdx.x * 4, 16);
    end_copies();
}

__global__ void misaligned_copy_kernel(float *x)
{
    SHARED(uint32_t, tile, 128);
    begin_copy<16>(tile + threadIdx.x * 4, x + threadIdx.x * 4 + 1, 16);
    end_copies();
    wait_copies<0>();
}

// Rows of 16 words: every second one begins in the same bank.
__global__ void banks_kernel(float *x)
{
    SHARED(uint32_t, tile, 32 * 16);
    uint32_t a[4];
    for (int i = lane_index(); i < 32 * 16; i += 32)
        tile[i] = 0;
    __syncthreads();
    load_a(a, tile, 16, 0, 0);
    x[threadIdx.x] = of_bits(a[0]);
}

static void test_barriers(void **)
{
    EXPECT_REPORT(two_barriers_kernel, 64, "threads do not meet at one barrier: threads 0 to 31 at __syncthreads");
    EXPECT_REPORT(early_end_kernel, 64, "threads do not meet", "thread 40 ended; threads 41 to 63 at __syncthreads");
    EXPECT_REPORT(lanes_apart_kernel, 32, "lanes of a warp are not together",
                  "thread 0 ended; thread 1 at __shfl_xor_sync");
    EXPECT_REPORT(lane_and_block_kernel, 32, "thread 3 at __syncthreads", "threads 4 to 31 at __ballot_sync");
    EXPECT_REPORT(wrong_mask_kernel, 32, "the mask 0000ffff does not name the thread itself");
    EXPECT_REPORT(outside_mask_kernel, 32, "reads lane 20, which is not in the mask 0000ffff");
}

static void test_shared_memory(void **)
{
    EXPECT_REPORT(unwritten_kernel, 64, "tile[50] of 64", "is read, but nobody wrote it");
    EXPECT_REPORT(other_block_kernel, 32, "block (1,0,0)", "is read, but nobody wrote it");
    EXPECT_REPORT(no_barrier_kernel, 64, "tile[");
    EXPECT_REPORT(weak_barrier_kernel, 64, "tile[");
    EXPECT_REPORT(overwrite_kernel, 64, "tile[", "without a barrier since it was");
    EXPECT_REPORT(both_write_kernel, 64, "is written without a barrier since it was written by thread");
    EXPECT_REPORT(beyond_kernel, 64, "is outside the array", "of 32 (test_machine.cc:");
    EXPECT_REPORT(misaligned_kernel, 64, "tile[2]", "not aligned to that");
    EXPECT_REPORT(too_much_kernel, 64, "65536 bytes of shared memory", "more than 48 KiB");
}

static void test_tensor_cores(void **)
{
    EXPECT_REPORT(unawaited_kernel, 32, "is read while a copy to it is under way");
    EXPECT_REPORT(uncommitted_kernel, 32, "is read while a copy to it is under way");
    EXPECT_REPORT(left_behind_kernel, 32, "ended", "copies");
    EXPECT_REPORT(misaligned_copy_kernel, 32, "a copy of 16 bytes from", "not aligned");
    EXPECT_REPORT(banks_kernel, 32, "ldmatrix: the rows of lanes", "lie in the same banks");
}

static void test_launches(void **)
{
    const struct {
        dim3 grid, block;
        size_t shared_bytes;
    } refused[] = {{dim3(1), dim3(1025), 0},
                   {dim3(1), dim3(32, 64), 0},
                   {dim3(1, 65536), dim3(32), 0},
                   {dim3(1), dim3(32), 49153}};
    for (const auto &shape : refused) {
        struct rig r = rig_make(1);
        struct error e = {};
        LAUNCH(r.stream, (launch_shape{shape.grid, shape.block, shape.shared_bytes}), reverse_kernel, r.x);
        assert_int_equal(r.stream->op->synchronize(r.stream, &e), -1);
        assert_non_null(strstr(e.text, "reverse_kernel"));
        assert_non_null(strstr(e.text, "invalid configuration argument"));
        assert_int_equal(r.stream->op->synchronize(r.stream, &e), 0); // told once
        rig_free(&r);
    }
    struct rig r = rig_make(1); // an empty grid is no launch
    struct error e = {};
    size_t grids = cudahost_grids();
    LAUNCH(r.stream, (launch_shape{dim3(0), dim3(32), 0}), reverse_kernel, r.x);
    assert_int_equal(r.stream->op->synchronize(r.stream, &e), 0);
    assert_int_equal(cudahost_grids(), grids);
    rig_free(&r);
}

// ---- order --------------------------------------------------------------------------------------------------------

// Blocks add to one sum in the order in which they happen to run.
__global__ void racing_sum_kernel(float *x)
{
    if (threadIdx.x == 0)
        x[0] += 1 / static_cast<float>(blockIdx.x + 3);
}

static void test_order_shows(void **)
{
    float ascending = run(1, racing_sum_kernel, 500, 32)[0], descending = run(3, racing_sum_kernel, 500, 32)[0];
    assert_true(fabsf(ascending - descending) < 1e-3f);
    assert_true(ascending != descending);
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right),        cmocka_unit_test(test_barriers), cmocka_unit_test(test_shared_memory),
        cmocka_unit_test(test_tensor_cores), cmocka_unit_test(test_launches), cmocka_unit_test(test_order_shows),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

// The execution model that kernels run on where there is no card: the threads of a block are fibers, barriers and warp
// operations are where they hand over, and all that must be in step is checked to be. Blocks run one after the other.
// What a kernel may not do ends its grid with a report (cudahost_report()), and the device is in error from then on, as
// a card would be:
//  * threads of a block or lanes of a warp that wait at different barriers, or wait for one that has ended;
//  * reads of shared memory that nobody of the block wrote;
//  * accesses to shared memory by two threads, one of them writing, with no barrier between them;
//  * accesses to shared memory that a copy beside the computation is on its way to, and threads that end without having
//    waited for theirs;
//  * accesses outside a shared array or not aligned to their width; more shared memory than a block has.
// The order in which blocks and threads run can be turned round (cudahost_order()): results may not depend on it.
#ifndef ISLR_TESTS_CUDAHOST_MACHINE_H
#define ISLR_TESTS_CUDAHOST_MACHINE_H

#include <cstddef>
#include <cstdint>
#include <functional>

#include "tests/cudahost/cudahost.h"

struct uint3 {
    unsigned x, y, z;
};

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

// Of the running thread.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

namespace cudahost
{

enum { WARP = 32, BLOCK_THREADS_MOST = 1024, SHARED_BYTES_MOST = 48 << 10 };

struct grid {
    const char *kernel;
    dim3 blocks, threads;
    size_t shared_bytes; // dynamic
};

// NULL, or why a card would refuse the launch.
const char *grid_fault(const struct grid &g);

// Runs the grid; `body` is the kernel with its arguments. Returns 0, or -1 if it was ended with a report.
int grid_run(const struct grid &g, const std::function<void()> &body);

void report_clear();

// Where in a kernel something is called.
struct site {
    const char *operation, *file;
    int line;
};

// ---- called by kernels --------------------------------------------------------------------------------------------

void block_barrier(const struct site &where);
void warp_barrier(unsigned mask, const struct site &where);

// Gives `value` to the other lanes of the mask; what each of the 32 lanes gave. Valid until the lane's next call.
const uint64_t *warp_exchange(unsigned mask, uint64_t value, const struct site &where);

// The same with up to EXCHANGE_WORDS words of 32 bits for each lane.
enum { EXCHANGE_WORDS = 6 };
const uint32_t (*warp_exchange_words(unsigned mask, const uint32_t *words, int count,
                                     const struct site &where))[EXCHANGE_WORDS];

[[noreturn]] void end_kernel(const char *format, ...) __attribute__((format(printf, 1, 2)));

// ---- shared memory ------------------------------------------------------------------------------------------------

// Who last touched an element, and when (in releases of barriers). MANY: several threads, or of several warps.
enum { NOBODY = -1, MANY = -2 };
struct element {
    uint64_t written, read;
    int16_t writer, reader, reader_warp;
    int16_t awaited; // a copy to it is under way
};

struct now {
    uint64_t time, block_start, block_barrier;
    uint64_t warp_barrier[BLOCK_THREADS_MOST / WARP];
    int thread, warp;
};
extern struct now now;

struct shared_array {
    const char *name, *file;
    int line;
    size_t element_size, count, capacity; // capacity: elements that there is memory for
    uint64_t block;                       // block_start of the block that used it last
    char *data;
    struct element *elements;
};

// Makes the array one of the running block's, if it is not yet. count 0: all of the launch's dynamic memory.
void shared_array_enter(struct shared_array *a, size_t count);

[[noreturn]] void shared_fail(const struct shared_array *a, ptrdiff_t at, const char *what, int other);

// Is what thread `other` (of warp `warp`) did at `time` before all that this one does?
static inline int is_ordered(uint64_t time, int other, int warp)
{
    return other == now.thread || time < now.block_barrier || (warp == now.warp && time < now.warp_barrier[now.warp]);
}

static inline struct element *shared_element(const struct shared_array *a, ptrdiff_t at)
{
    if (at < 0 || static_cast<size_t>(at) >= a->count)
        shared_fail(a, at, "is outside the array", NOBODY);
    return &a->elements[at];
}

static inline const char *shared_read(const struct shared_array *a, ptrdiff_t at)
{
    struct element *e = shared_element(a, at);
    if (e->awaited)
        shared_fail(a, at, "is read while a copy to it is under way, begun by", e->writer);
    if (e->written < now.block_start)
        shared_fail(a, at, "is read, but nobody wrote it", NOBODY);
    if (!is_ordered(e->written, e->writer, e->writer / WARP))
        shared_fail(a, at, "is read without a barrier since it was written by", e->writer);
    if (e->read < now.block_barrier || e->read < now.block_start || e->reader == NOBODY) {
        e->reader = static_cast<int16_t>(now.thread);
        e->reader_warp = static_cast<int16_t>(now.warp);
    } else {
        e->reader = e->reader == now.thread ? e->reader : static_cast<int16_t>(MANY);
        e->reader_warp = e->reader_warp == now.warp ? e->reader_warp : static_cast<int16_t>(MANY);
    }
    e->read = now.time;
    return a->data + static_cast<size_t>(at) * a->element_size;
}

static inline char *shared_write(const struct shared_array *a, ptrdiff_t at)
{
    struct element *e = shared_element(a, at);
    if (e->awaited)
        shared_fail(a, at, "is written while a copy to it is under way, begun by", e->writer);
    if (e->written >= now.block_start && !is_ordered(e->written, e->writer, e->writer / WARP))
        shared_fail(a, at, "is written without a barrier since it was written by", e->writer);
    if (e->read >= now.block_start && e->reader != NOBODY && !is_ordered(e->read, e->reader, e->reader_warp))
        shared_fail(a, at, "is written without a barrier since it was read by", e->reader);
    e->writer = static_cast<int16_t>(now.thread);
    e->written = now.time;
    return a->data + static_cast<size_t>(at) * a->element_size;
}

// ---- copies beside the computation --------------------------------------------------------------------------------

// Begins to write a word to an element; it is written, for this thread, when copies_wait(n) has returned, which waits
// for all but the thread's last n groups.
void copy_begin(struct shared_array *a, ptrdiff_t at, uint32_t word);
void copies_end_group();
void copies_wait(int groups_left);

} // namespace cudahost

#endif

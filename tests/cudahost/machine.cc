// Grids, blocks, barriers and the checks on shared memory: see machine.h.
#include "tests/cudahost/machine.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "tests/cudahost/fiber.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace cudahost
{

struct now now;

enum state { NEW, READY, AT_BLOCK, AT_WARP, ENDED };

// A word on its way to shared memory.
struct copy {
    struct shared_array *array;
    ptrdiff_t at;
    uint32_t word;
    int group;
};

struct thread {
    struct fiber *fiber; // while it runs
    enum state state;
    struct site where; // AT_BLOCK, AT_WARP
    unsigned mask;     // AT_WARP
    int exchanges;     // made so far: which half of the warp's values is next
    int groups;        // of copies that were ended
    std::vector<struct copy> copies;
};

struct warp {
    uint64_t value[2][WARP]; // a lane can be one exchange ahead of another, never two
    uint32_t words[2][WARP][EXCHANGE_WORDS];
};

// The one device.
static struct {
    int order = 1;
    std::string report;
    size_t grids;
    const struct grid *grid;
    const std::function<void()> *body;
    int threads; // of a block
    struct thread thread[BLOCK_THREADS_MOST];
    struct warp warp[BLOCK_THREADS_MOST / WARP];
    std::vector<struct fiber *> free; // fibers without a body
    size_t shared_bytes;              // of the running block
} device;

// Fibers end with the program, so that what looks for leaks finds none.
static struct fibers_end {
    ~fibers_end()
    {
        for (struct fiber *f : device.free)
            fiber_destroy(f);
        device.free.clear();
    }
} fibers_end;

// ---- reports ------------------------------------------------------------------------------------------------------

static std::string text_of(const char *format, ...) __attribute__((format(printf, 1, 2)));
static std::string text_of(const char *format, ...)
{
    char text[1000];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    return text;
}

// A launch's text begins with the kernel's name; arguments follow.
static std::string kernel_name()
{
    std::string name = device.grid->kernel;
    int depth = 0;
    for (size_t i = 0; i < name.size(); i++) {
        depth += (name[i] == '<') - (name[i] == '>');
        if (name[i] == ',' && depth == 0)
            return name.substr(0, i);
    }
    return name;
}

static void report(const std::string &what)
{
    if (device.report.empty())
        device.report =
            text_of("kernel %s, block (%u,%u,%u): ", kernel_name().c_str(), blockIdx.x, blockIdx.y, blockIdx.z) + what;
}

void end_kernel(const char *format, ...)
{
    char text[1000];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    report(text_of("thread %d: ", now.thread) + text);
    for (;;)
        fiber_pause(); // never resumed
}

void report_clear()
{
    device.report.clear();
}

static std::string place_of(const struct thread &t)
{
    if (t.state == ENDED)
        return "ended";
    const char *file = strrchr(t.where.file, '/');
    return text_of("at %s (%s:%d)", t.where.operation, file ? file + 1 : t.where.file, t.where.line);
}

// Threads [first, end) as runs that are at the same place; the first few.
static void report_places(const char *what, int first, int end)
{
    enum { RUNS_MOST = 6 };
    std::string text = what;
    for (int i = first, next, run = 0; i < end; i = next) {
        if (run++ == RUNS_MOST) {
            text += "; ...";
            break;
        }
        std::string place = place_of(device.thread[i]);
        for (next = i + 1; next < end && place_of(device.thread[next]) == place;)
            next++;
        text += i == first ? ": " : "; ";
        text += next > i + 1 ? text_of("threads %d to %d ", i, next - 1) : text_of("thread %d ", i);
        text += place;
    }
    report(text);
}

// ---- barriers -----------------------------------------------------------------------------------------------------

static void wait(enum state state, const struct site &where, unsigned mask)
{
    struct thread &t = device.thread[now.thread];
    t.state = state;
    t.where = where;
    t.mask = mask;
    fiber_pause();
}

void block_barrier(const struct site &where)
{
    wait(AT_BLOCK, where, 0);
}

static void check_mask(unsigned mask, const struct site &where)
{
    if (!(mask >> now.thread % WARP & 1))
        end_kernel("%s (line %d): the mask %08x does not name the thread itself", where.operation, where.line, mask);
}

void warp_barrier(unsigned mask, const struct site &where)
{
    check_mask(mask, where);
    wait(AT_WARP, where, mask);
}

const uint64_t *warp_exchange(unsigned mask, uint64_t value, const struct site &where)
{
    check_mask(mask, where);
    struct thread &t = device.thread[now.thread];
    uint64_t *values = device.warp[now.warp].value[t.exchanges++ % 2];
    values[now.thread % WARP] = value;
    wait(AT_WARP, where, mask);
    return values;
}

const uint32_t (*warp_exchange_words(unsigned mask, const uint32_t *words, int count,
                                     const struct site &where))[EXCHANGE_WORDS]
{
    check_mask(mask, where);
    struct thread &t = device.thread[now.thread];
    auto *all = device.warp[now.warp].words[t.exchanges++ % 2];
    memcpy(all[now.thread % WARP], words, static_cast<size_t>(count) * sizeof *words);
    wait(AT_WARP, where, mask);
    return all;
}

static bool same_place(const struct thread &a, const struct thread &b)
{
    return a.state == b.state && a.mask == b.mask && a.where.line == b.where.line &&
           !strcmp(a.where.file, b.where.file) && !strcmp(a.where.operation, b.where.operation);
}

// Lets the lanes of a warp go on whose masks' lanes are all there. Returns whether some can.
static bool release_lanes(int first, int end)
{
    bool released = false, barrier = false;
    for (int i = first; i < end; i++) {
        struct thread &t = device.thread[i];
        if (t.state != AT_WARP)
            continue;
        bool complete = true;
        for (int lane = 0; lane < WARP; lane++)
            if (t.mask >> lane & 1)
                complete &= first + lane < end && same_place(device.thread[first + lane], t);
        if (!complete)
            continue;
        barrier |= !strcmp(t.where.operation, "__syncwarp");
        unsigned mask = t.mask;
        for (int lane = 0; lane < WARP; lane++)
            if (mask >> lane & 1)
                device.thread[first + lane].state = READY;
        released = true;
    }
    if (barrier)
        now.warp_barrier[first / WARP] = ++now.time;
    return released;
}

// ---- threads ------------------------------------------------------------------------------------------------------

static void thread_main(void *)
{
    (*device.body)();
    if (!device.thread[now.thread].copies.empty())
        end_kernel("ended with copies under way that it had not waited for");
}

static void run_thread(int i)
{
    struct thread &t = device.thread[i];
    unsigned width = blockDim.x, area = blockDim.x * blockDim.y, n = static_cast<unsigned>(i);
    now.thread = i;
    now.warp = i / WARP;
    threadIdx = {n % width, n % area / width, n / area};
    int is_new = t.state == NEW;
    t.state = READY;
    if (is_new) {
        if (device.free.empty())
            device.free.push_back(fiber_create());
        t.fiber = device.free.back();
        device.free.pop_back();
        fiber_start(t.fiber, thread_main, nullptr);
    } else {
        fiber_resume(t.fiber);
    }
    if (fiber_finished(t.fiber)) {
        device.free.push_back(t.fiber);
        t.fiber = nullptr;
        t.state = ENDED;
    }
}

// Item i of n in the order that is set.
static int ordered(int i, int n)
{
    return device.order == 1 ? i : n - 1 - i;
}

// Runs a warp until all its threads have ended or wait at a barrier of the block. Returns whether any ran.
static bool run_warp(int warp)
{
    int first = warp * WARP, end = std::min(first + WARP, device.threads);
    bool any = false;
    for (;;) {
        bool ran = false;
        for (int i = 0; i < end - first; i++) {
            int n = first + ordered(i, end - first);
            if (device.thread[n].state > READY)
                continue;
            run_thread(n);
            ran = any = true;
            if (!device.report.empty())
                return true;
        }
        if (release_lanes(first, end))
            continue;
        for (int i = first; i < end; i++)
            if (device.thread[i].state == AT_WARP) {
                report_places("lanes of a warp are not together", first, end);
                return true;
            }
        if (!ran)
            return any;
    }
}

// After all warps have come to rest: true if the block goes on.
static bool release_block()
{
    int waiting = 0;
    for (int i = 0; i < device.threads; i++)
        waiting += device.thread[i].state == AT_BLOCK;
    if (!waiting)
        return false;
    for (int i = 0; i < device.threads; i++)
        if (!same_place(device.thread[i], device.thread[0])) {
            report_places("threads do not meet at one barrier", 0, device.threads);
            return false;
        }
    for (int i = 0; i < device.threads; i++)
        device.thread[i].state = READY;
    now.block_barrier = ++now.time;
    return true;
}

static void run_block()
{
    now.block_start = now.block_barrier = ++now.time;
    std::fill(std::begin(now.warp_barrier), std::end(now.warp_barrier), now.time);
    device.shared_bytes = device.grid->shared_bytes;
    for (int i = 0; i < device.threads; i++) {
        device.thread[i].state = NEW;
        device.thread[i].exchanges = device.thread[i].groups = 0;
        device.thread[i].copies.clear();
    }
    int warps = (device.threads + WARP - 1) / WARP;
    do {
        for (int w = 0; w < warps; w++) {
            run_warp(ordered(w, warps));
            if (!device.report.empty())
                return;
        }
    } while (release_block());
}

// Threads of a block that was ended are given up with their fibers.
static void give_up_threads()
{
    for (int i = 0; i < device.threads; i++) {
        fiber_destroy(device.thread[i].fiber);
        device.thread[i].fiber = nullptr;
    }
}

// ---- grids --------------------------------------------------------------------------------------------------------

const char *grid_fault(const struct grid &g)
{
    uint64_t threads = static_cast<uint64_t>(g.threads.x) * g.threads.y * g.threads.z;
    if (threads == 0 || threads > BLOCK_THREADS_MOST || g.threads.z > 64)
        return "a block has 1 to 1024 threads";
    if (!g.blocks.x || !g.blocks.y || !g.blocks.z || g.blocks.x > INT32_MAX || g.blocks.y > 65535 || g.blocks.z > 65535)
        return "a grid has 1 to 2^31-1, 65535 and 65535 blocks";
    if (g.shared_bytes > SHARED_BYTES_MOST)
        return "a block has 48 KiB of shared memory";
    return nullptr;
}

int grid_run(const struct grid &g, const std::function<void()> &body)
{
    device.grid = &g;
    device.body = &body;
    device.threads = static_cast<int>(g.threads.x * g.threads.y * g.threads.z);
    device.grids++;
    blockDim = g.threads;
    gridDim = g.blocks;
    uint64_t blocks = static_cast<uint64_t>(g.blocks.x) * g.blocks.y * g.blocks.z;
    for (uint64_t i = 0; i < blocks && device.report.empty(); i++) {
        uint64_t n = device.order == 1 ? i : blocks - 1 - i;
        blockIdx = {static_cast<unsigned>(n % g.blocks.x), static_cast<unsigned>(n / g.blocks.x % g.blocks.y),
                    static_cast<unsigned>(n / g.blocks.x / g.blocks.y)};
        run_block();
    }
    give_up_threads();
    return device.report.empty() ? 0 : -1;
}

// ---- shared memory ------------------------------------------------------------------------------------------------

void shared_array_enter(struct shared_array *a, size_t count)
{
    if (a->block == now.block_start)
        return;
    a->block = now.block_start;
    if (count)
        device.shared_bytes += count * a->element_size;
    if (device.shared_bytes > SHARED_BYTES_MOST)
        end_kernel("the block has %zu bytes of shared memory with %s, more than 48 KiB", device.shared_bytes, a->name);
    a->count = count ? count : device.grid->shared_bytes / a->element_size;
    for (size_t i = 0; i < a->count && i < a->capacity; i++)
        a->elements[i].awaited = 0; // of a block that was ended
    if (a->capacity >= a->count)
        return;
    free(a->data);
    free(a->elements);
    a->data = static_cast<char *>(aligned_alloc(16, (a->count * a->element_size + 15) / 16 * 16));
    a->elements = static_cast<struct element *>(calloc(a->count, sizeof *a->elements));
    a->capacity = a->count;
}

void copy_begin(struct shared_array *a, ptrdiff_t at, uint32_t word)
{
    struct thread &t = device.thread[now.thread];
    shared_write(a, at);
    a->elements[at].awaited = 1;
    t.copies.push_back({a, at, word, t.groups});
}

void copies_end_group()
{
    device.thread[now.thread].groups++;
}

void copies_wait(int groups_left)
{
    struct thread &t = device.thread[now.thread];
    size_t done = 0;
    while (done < t.copies.size() && t.copies[done].group < t.groups - groups_left) {
        const struct copy &c = t.copies[done++];
        c.array->elements[c.at].awaited = 0;
        memcpy(shared_write(c.array, c.at), &c.word, sizeof c.word);
    }
    t.copies.erase(t.copies.begin(), t.copies.begin() + static_cast<ptrdiff_t>(done));
}

void shared_fail(const struct shared_array *a, ptrdiff_t at, const char *what, int other)
{
    const char *file = strrchr(a->file, '/');
    std::string who = other == NOBODY ? "" : other == MANY ? " several" : text_of(" thread %d", other);
    end_kernel("%s[%td] of %zu (%s:%d) %s%s", a->name, at, a->count, file ? file + 1 : a->file, a->line, what,
               who.c_str());
}

} // namespace cudahost

// ---- what tests steer ---------------------------------------------------------------------------------------------

using cudahost::device;

void cudahost_order(int order)
{
    device.order = order;
}

const char *cudahost_report(void)
{
    return device.report.c_str();
}

size_t cudahost_grids(void)
{
    return device.grids;
}

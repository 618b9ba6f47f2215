// The CUDA runtime's functions over the host model: see include/cuda_runtime_api.h.
#include "cuda_runtime_api.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>

#include <sys/mman.h>
#include <unistd.h>

#include "core/base/error.h"
#include "tests/cudahost/graph.h"
#include "tests/cudahost/launch.h"

#if defined(__SANITIZE_ADDRESS__)
#define RUNTIME_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RUNTIME_ASAN 1
#endif
#endif

enum { PRIORITY_LEAST = 0, PRIORITY_GREATEST = -5 }; // the numbers of recent cards
enum { POISON = 0xFF, ALIGN = 256 };                 // 0xFFFF and 0xFFFFFFFF are NaN in every type
#ifndef RUNTIME_ASAN
static const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
#endif

struct cudahost_stream {
    std::deque<std::function<cudaError_t()>> queue;
    bool running;
    int priority;
};

struct cudahost_event {
    uint64_t recorded, done;                  // counts
    cudaStream_t stream;                      // of the last record
    struct cudahost::captured_point captured; // the last record, if it was in a capture
};

// What cudaMalloc gave.
struct block {
    size_t size;   // asked for
    char *mapping; // with its page without access at the end
    size_t mapped;
};

static struct {
    cudaError_t last, sticky;
    std::map<char *, struct block> blocks;
    std::map<char *, size_t> pinned;
    std::set<cudaStream_t> streams;
    size_t limit = static_cast<size_t>(8) << 30, used, replays;
    int devices = 1, device; // there are, is current
    int major = 9, minor;
    std::string code; // capabilities that there is code for; "": the device's own
} runtime;

static cudaError_t result(cudaError_t rc)
{
    if (rc)
        runtime.last = rc;
    return rc;
}

// ---- streams and events -------------------------------------------------------------------------------------------

static cudaError_t run_front(cudaStream_t s)
{
    std::function<cudaError_t()> work = std::move(s->queue.front());
    s->queue.pop_front();
    s->running = true;
    cudaError_t rc = runtime.sticky ? runtime.sticky : work();
    s->running = false;
    if (rc == cudaErrorNotReady) { // waits for another process: again later
        s->queue.push_front(std::move(work));
        return rc;
    }
    if (rc)
        runtime.sticky = rc; // an error of the device stays
    return runtime.sticky;
}

static cudaError_t run_stream(cudaStream_t s)
{
    while (!s->queue.empty())
        if (run_front(s) == cudaErrorNotReady)
            usleep(50);
    return runtime.sticky;
}

static cudaError_t run_all()
{
    for (cudaStream_t s : runtime.streams)
        run_stream(s);
    return runtime.sticky;
}

// Lets the stream that recorded the event get so far, or until it waits for another process.
static cudaError_t run_until(cudaEvent_t e, uint64_t count)
{
    while (e->done < count && !e->stream->queue.empty() && !e->stream->running)
        if (run_front(e->stream) == cudaErrorNotReady)
            return cudaErrorNotReady;
    return runtime.sticky;
}

static cudaError_t wait_until(cudaEvent_t e, uint64_t count)
{
    cudaError_t rc;
    while ((rc = run_until(e, count)) == cudaErrorNotReady)
        usleep(50);
    return rc;
}

namespace cudahost
{

cudaError_t stream_queue(cudaStream_t s, std::function<cudaError_t()> work)
{
    if (!runtime.streams.count(s))
        return result(cudaErrorInvalidValue);
    if (capture_of(s))
        return result(capture_add(s, std::move(work)));
    s->queue.push_back(std::move(work));
    return result(runtime.sticky);
}

// The most that launches of each kernel asked for, written where CUDAHOST_LAUNCHES says.
static struct launches {
    struct most {
        unsigned threads;
        size_t shared_bytes;
    };
    std::map<std::string, struct most> of;
    void add(const struct grid &g)
    {
        std::string name(g.kernel, strcspn(g.kernel, "<,"));
        struct most *m = &of[name];
        m->threads = std::max(m->threads, g.threads.x * g.threads.y * g.threads.z);
        m->shared_bytes = std::max(m->shared_bytes, g.shared_bytes);
    }
    ~launches()
    {
        const char *path = getenv("CUDAHOST_LAUNCHES");
        FILE *f = path ? fopen(path, "a") : NULL;
        for (const auto &kernel : of)
            if (f)
                fprintf(f, "%s %u %zu\n", kernel.first.c_str(), kernel.second.threads, kernel.second.shared_bytes);
        if (f)
            fclose(f);
    }
} launches;

cudaError_t launch(cudaStream_t s, const struct grid &g, std::function<void()> body)
{
    if (grid_fault(g))
        return result(cudaErrorInvalidConfiguration);
    launches.add(g);
    return stream_queue(s, [=] { return grid_run(g, body) ? cudaErrorLaunchFailure : cudaSuccess; });
}

} // namespace cudahost

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
    *least = PRIORITY_LEAST;
    *greatest = PRIORITY_GREATEST;
    return result(runtime.sticky);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *s, unsigned flags, int priority)
{
    if (flags != cudaStreamNonBlocking || priority > PRIORITY_LEAST || priority < PRIORITY_GREATEST)
        return result(cudaErrorInvalidValue);
    *s = new cudahost_stream();
    (*s)->priority = priority;
    runtime.streams.insert(*s);
    return result(runtime.sticky);
}

cudaError_t cudaStreamGetPriority(cudaStream_t s, int *priority)
{
    if (!runtime.streams.count(s))
        return result(cudaErrorInvalidValue);
    *priority = s->priority;
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    if (!runtime.streams.count(s) || cudahost::capture_forbids(s))
        return result(cudaErrorInvalidValue);
    run_stream(s);
    runtime.streams.erase(s);
    delete s;
    return result(runtime.sticky);
}

// CUDAHOST_FAULT_FILE: is it there, then it is gone and so is the device.
static void meet_fault()
{
    const char *path = getenv("CUDAHOST_FAULT_FILE");
    if (path && !unlink(path))
        runtime.sticky = cudaErrorIllegalAddress;
}

cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    meet_fault();
    if (cudaError_t rc = cudahost::capture_forbids(s))
        return result(rc);
    return result(runtime.streams.count(s) ? run_stream(s) : cudaErrorInvalidValue);
}

cudaError_t cudaStreamQuery(cudaStream_t s)
{
    if (!runtime.streams.count(s))
        return result(cudaErrorInvalidValue);
    if (cudaError_t rc = cudahost::capture_forbids(s))
        return result(rc);
    while (!s->queue.empty())
        if (run_front(s) == cudaErrorNotReady)
            return cudaErrorNotReady;
    return result(runtime.sticky);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned)
{
    *e = new cudahost_event();
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    if (e->recorded > e->done && runtime.streams.count(e->stream))
        run_stream(e->stream); // what is queued may still touch it
    delete e;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s)
{
    e->captured = {};
    if (cudahost::capture_of(s)) {
        e->captured = cudahost::capture_mark(s);
        return cudaSuccess;
    }
    if (e->recorded > e->done && e->stream != s)
        wait_until(e, e->recorded);
    uint64_t count = ++e->recorded;
    e->stream = s;
    return cudahost::stream_queue(s, [=] {
        e->done = count;
        return cudaSuccess;
    });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned)
{
    if (e->captured.number || cudahost::capture_of(s))
        return result(cudahost::capture_wait(s, e->captured));
    uint64_t count = e->recorded;
    return cudahost::stream_queue(s, [=] { return run_until(e, count); });
}

cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
    if (e->captured.number) {
        cudahost::capture_forbids();
        return result(cudaErrorCapturedEvent);
    }
    return result(wait_until(e, e->recorded));
}

int cudahost_stream_priority(void *stream)
{
    return static_cast<cudaStream_t>(stream)->priority;
}

int cudahost_stream_call(void *stream, int (*work)(void *context), void *context)
{
    return cudahost::stream_queue(static_cast<cudaStream_t>(stream),
                                  [=] { return work(context) ? cudaErrorLaunchFailure : cudaSuccess; });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t s)
{
    if (cudaError_t rc = cudahost::capture_forbids(s)) // a graph within a graph: not modelled
        return result(rc);
    runtime.replays++;
    return cudahost::stream_queue(s, cudahost::graph_runner(exec));
}

size_t cudahost_replays(void)
{
    return runtime.replays;
}

// ---- memory -------------------------------------------------------------------------------------------------------

void cudahost_limit_memory(size_t size)
{
    runtime.limit = size;
}

size_t cudahost_allocations(void)
{
    return runtime.blocks.size();
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    *total = runtime.limit;
    *free_bytes = runtime.used < runtime.limit ? runtime.limit - runtime.used : 0;
    return result(runtime.sticky);
}

cudaError_t cudaMalloc(void **p, size_t size)
{
    struct block b = {size, nullptr, 0};
    if (cudaError_t rc = cudahost::capture_forbids())
        return result(rc);
    if (runtime.sticky)
        return result(runtime.sticky);
    if (size == 0 || size > runtime.limit || runtime.used > runtime.limit - size)
        return result(size ? cudaErrorMemoryAllocation : cudaErrorInvalidValue);
#ifdef RUNTIME_ASAN
    void *data = nullptr;
    if (posix_memalign(&data, ALIGN, size))
        return result(cudaErrorMemoryAllocation);
    b.mapping = static_cast<char *>(data);
    memset(data, POISON, size);
#else
    size_t room = (size + page - 1) / page * page;
    b.mapped = room + page;
    void *mapping = mmap(nullptr, b.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED)
        return result(cudaErrorMemoryAllocation);
    b.mapping = static_cast<char *>(mapping);
    if (mprotect(b.mapping + room, page, PROT_NONE)) {
        munmap(mapping, b.mapped);
        return result(cudaErrorMemoryAllocation);
    }
    memset(b.mapping, POISON, room);
    char *data = b.mapping + room - (size + ALIGN - 1) / ALIGN * ALIGN;
#endif
    runtime.used += size;
    runtime.blocks[static_cast<char *>(data)] = b;
    *p = data;
    return cudaSuccess;
}

#ifndef RUNTIME_ASAN
static void check_poison(const char *from, const char *end, const char *data, size_t size)
{
    for (const char *p = from; p < end; p++)
        if (static_cast<unsigned char>(*p) != POISON) {
            fprintf(stderr, "cudahost: device memory was written %td bytes from the start of a block of %zu bytes\n",
                    p - data, size);
            abort();
        }
}
#endif

// What surrounds a block within its pages must be as it was.
static void check_guards(const char *data, const struct block &b)
{
#ifndef RUNTIME_ASAN
    check_poison(b.mapping, data, data, b.size);
    check_poison(data + b.size, b.mapping + b.mapped - page, data, b.size);
#else
    (void)data, (void)b;
#endif
}

cudaError_t cudaFree(void *p)
{
    if (!p)
        return cudaSuccess;
    if (cudaError_t rc = cudahost::capture_forbids())
        return result(rc);
    auto found = runtime.blocks.find(static_cast<char *>(p));
    if (found == runtime.blocks.end())
        return result(cudaErrorInvalidValue);
    run_all(); // as on a card, freeing waits for the device
    check_guards(found->first, found->second);
    runtime.used -= found->second.size;
#ifdef RUNTIME_ASAN
    free(p);
#else
    munmap(found->second.mapping, found->second.mapped);
#endif
    runtime.blocks.erase(found);
    return result(runtime.sticky);
}

cudaError_t cudaMallocHost(void **p, size_t size)
{
    if (cudaError_t rc = cudahost::capture_forbids())
        return result(rc);
    *p = malloc(size);
    if (!*p)
        return result(cudaErrorMemoryAllocation);
    memset(*p, POISON, size);
    runtime.pinned[static_cast<char *>(*p)] = size;
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *p)
{
    if (cudaError_t rc = cudahost::capture_forbids())
        return result(rc);
    if (!runtime.pinned.erase(static_cast<char *>(p)))
        return result(cudaErrorInvalidValue);
    run_all();
    free(p);
    return cudaSuccess;
}

// Is [p, p+size) within one of the blocks of the map?
template <class Block, class Size>
static bool within(const std::map<char *, Block> &blocks, const void *p, size_t size, Size size_of)
{
    char *at = const_cast<char *>(static_cast<const char *>(p));
    auto next = blocks.upper_bound(at);
    if (next == blocks.begin())
        return false;
    --next;
    return at + size <= next->first + size_of(next->second);
}

static bool on_device(const void *p, size_t size)
{
    return within(runtime.blocks, p, size, [](const struct block &b) { return b.size; });
}

static bool is_pinned(const void *p, size_t size)
{
    return within(runtime.pinned, p, size, [](size_t own) { return own; });
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, enum cudaMemcpyKind kind, cudaStream_t s)
{
    bool from_device = kind != cudaMemcpyHostToDevice, to_device = kind != cudaMemcpyDeviceToHost;
    if (from_device != on_device(from, size) || to_device != on_device(to, size))
        return result(cudaErrorInvalidValue);
    if ((!from_device && !is_pinned(from, size)) || (!to_device && !is_pinned(to, size)))
        if (cudaError_t rc = cudahost::capture_forbids(s))
            return result(rc);
    if (!from_device && !is_pinned(from, size)) {
        std::string copy(static_cast<const char *>(from), size);
        return cudahost::stream_queue(s, [=] {
            memcpy(to, copy.data(), size);
            return cudaSuccess;
        });
    }
    cudaError_t rc = cudahost::stream_queue(s, [=] {
        memmove(to, from, size);
        return cudaSuccess;
    });
    if (!rc && !to_device && !is_pinned(to, size))
        rc = cudaStreamSynchronize(s);
    return rc;
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t size, cudaStream_t s)
{
    if (!on_device(p, size))
        return result(cudaErrorInvalidValue);
    return cudahost::stream_queue(s, [=] {
        memset(p, value, size);
        return cudaSuccess;
    });
}

// ---- settings -----------------------------------------------------------------------------------------------------

// The number that a variable holds, within bounds; `value` stays as it is where the variable is not set.
static int setting_number(const char *name, long least, long most, long *value, struct error *e)
{
    const char *text = getenv(name);
    char *end;
    if (!text || !*text)
        return 0;
    long x = strtol(text, &end, 10);
    if (*end || x < least || x > most)
        return error_set(e, ERR_INVALID, "%s=%s: a number from %ld to %ld", name, text, least, most);
    *value = x;
    return 0;
}

int cudahost_configure(struct error *e)
{
    const char *order = getenv("CUDAHOST_ORDER"), *capability = getenv("CUDAHOST_CAPABILITY");
    long devices = runtime.devices, memory = static_cast<long>(runtime.limit >> 20);
    const char *code = getenv("CUDAHOST_CODE");
    int major = 0, minor = 0;
    if (code && strspn(code, "0123456789,") != strlen(code))
        return error_set(e, ERR_INVALID, "CUDAHOST_CODE=%s: as in 75,90", code);
    if (order && strcmp(order, "ascending") && strcmp(order, "descending"))
        return error_set(e, ERR_INVALID, "CUDAHOST_ORDER=%s: ascending or descending", order);
    if (capability && sscanf(capability, "%d.%d", &major, &minor) != 2)
        return error_set(e, ERR_INVALID, "CUDAHOST_CAPABILITY=%s: as in 9.0", capability);
    if (setting_number("CUDAHOST_DEVICES", 0, 16, &devices, e) ||
        setting_number("CUDAHOST_MEMORY_MIB", 1, 1 << 20, &memory, e))
        return -1;
    if (order)
        cudahost_order(strcmp(order, "ascending") ? 3 : 1);
    if (capability) {
        runtime.major = major;
        runtime.minor = minor;
    }
    runtime.code = code ? code : "";
    runtime.devices = static_cast<int>(devices);
    runtime.limit = static_cast<size_t>(memory) << 20;
    return 0;
}

// ---- the device ---------------------------------------------------------------------------------------------------

void cudahost_reset(void)
{
    runtime.last = runtime.sticky = cudaSuccess;
    cudahost::report_clear();
}

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = runtime.devices;
    return result(runtime.devices ? cudaSuccess : cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int device)
{
    if (device < 0 || device >= runtime.devices)
        return result(cudaErrorInvalidDevice);
    runtime.device = device;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device)
{
    if (device < 0 || device >= runtime.devices)
        return result(cudaErrorInvalidDevice);
    *p = {};
    snprintf(p->name, sizeof p->name, "host model");
    p->totalGlobalMem = runtime.limit;
    p->multiProcessorCount = 1;
    p->major = runtime.major;
    p->minor = runtime.minor;
    return cudaSuccess;
}

// Machine code serves its own major version from its minor on; PTX, which is of the last, whatever is not older.
cudaError_t cudahost_function_attributes(struct cudaFuncAttributes *attributes)
{
    int device = runtime.major * 10 + runtime.minor, machine = 0, last = runtime.code.empty() ? device : 0;
    for (const char *p = runtime.code.c_str(); *p; p += *p == ',') {
        last = static_cast<int>(strtol(p, const_cast<char **>(&p), 10));
        if (last / 10 == runtime.major && last <= device && last > machine)
            machine = last;
    }
    attributes->ptxVersion = machine ? machine : last;
    return machine || last <= device ? cudaSuccess : result(cudaErrorNoKernelImageForDevice);
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = 12040;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = 12040;
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t rc = runtime.last;
    runtime.last = cudaSuccess;
    return rc;
}

const char *cudaGetErrorString(cudaError_t rc)
{
    switch (rc) {
    case cudaSuccess:
        return "no error";
    case cudaErrorInvalidValue:
        return "invalid argument";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorInvalidConfiguration:
        return "invalid configuration argument";
    case cudaErrorNotReady:
        return "device not ready";
    case cudaErrorNoDevice:
        return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
        return "invalid device ordinal";
    case cudaErrorIllegalAddress:
        return "an illegal memory access was encountered";
    case cudaErrorNoKernelImageForDevice:
        return "no kernel image is available for execution on the device";
    case cudaErrorStreamCaptureUnsupported:
        return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
        return "operation failed due to a previous error during capture";
    case cudaErrorStreamCaptureMerge:
        return "operation would result in a merge of separate capture sequences";
    case cudaErrorStreamCaptureUnmatched:
        return "capture was not ended in the same stream as it began";
    case cudaErrorStreamCaptureUnjoined:
        return "capturing stream has unjoined work";
    case cudaErrorStreamCaptureIsolation:
        return "dependency created on uncaptured work in another stream";
    case cudaErrorCapturedEvent:
        return "operation not permitted on an event last recorded in a capturing stream";
    case cudaErrorLaunchFailure:
        return *cudahost_report() ? cudahost_report() : "unspecified launch failure";
    }
    return "unrecognized error code";
}

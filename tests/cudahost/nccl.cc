// Stands in for NCCL between processes of one machine, over the host model: the part of it that core/comm uses, in its
// binary interface (core/comm/nccl_library.h), exported by the shared object that stands in for the CUDA backend. Data
// goes through shared memory, a mailbox for each pair of ranks. Communicators are non-blocking, and what is queued stands
// on a stream of the highest priority, as core/comm makes them.
// CUDAHOST_NCCL=RANK:FAULT gives a rank a fault:
//   absent       it never comes to the communicator
//   lost         its contributions are never sent, from the third exchange on
//   error        its third exchange fails, as where a link breaks
//   unrecorded   its first exchange that is captured is refused
//   abort-hangs  giving up the communicator does not come back
// An exchange that is captured into a graph runs again with each replay. As NCCL has it, all ranks must have captured it in
// the same capture, or none: where they have not, the device fails and says so. Giving up or closing a communicator waits,
// as NCCL's does, for the end of a capture that it is in.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/cudahost/graph.h"
#include "tests/cudahost/launch.h"

extern "C" {
#include "core/comm/nccl_library.h"
}

#define EXPORT extern "C" __attribute__((visibility("default")))

enum { RANKS_MOST = 8, ROOM = 1 << 18, FAULT_FROM = 3 };
enum { REMOTE_ERROR = 6, INVALID_USAGE = 5, SYSTEM_ERROR = 2 };

namespace
{

struct mailbox {
    std::atomic<uint64_t> written, read; // bytes
    char data[ROOM];
};

struct shared_part {
    std::atomic<int> arrived, aborted;
    struct mailbox mail[RANKS_MOST][RANKS_MOST]; // [from][to]
};

struct transfer {
    bool send;
    char *data;
    size_t size, moved;
    int peer;
};

typedef std::vector<struct transfer> transfer_list;

// Transfers with, before each of them, the number of the capture that they are in.
struct exchange {
    uint64_t capture; // 0: none
    transfer_list transfers;
    std::vector<uint64_t> theirs; // the peers' numbers
};

struct group {
    transfer_list transfers;
    struct nccl_comm *comm;
    cudaStream_t stream;
};

struct group *open_group;
int group_depth;

} // namespace

struct nccl_comm {
    int rank, ranks;
    struct shared_part *part;
    bool arrived, given_up, failed;
    int exchanges;
    char fault[16];
    std::set<uint64_t> captures; // that it has come into
};

// ---- moving data --------------------------------------------------------------------------------------------------

static void move(struct nccl_comm *c, struct transfer &t)
{
    struct mailbox &m = t.send ? c->part->mail[c->rank][t.peer] : c->part->mail[t.peer][c->rank];
    uint64_t written = m.written.load(), read = m.read.load();
    size_t able = t.send ? ROOM - (written - read) : written - read;
    size_t left = t.size - t.moved, n = able < left ? able : left;
    for (size_t at = 0; at < n;) {
        uint64_t place = ((t.send ? written : read) + at) % ROOM;
        size_t run = n - at < ROOM - place ? n - at : ROOM - place;
        if (t.send)
            memcpy(m.data + place, t.data + t.moved + at, run);
        else
            memcpy(t.data + t.moved + at, m.data + place, run);
        at += run;
    }
    t.moved += n;
    if (t.send)
        m.written.store(written + n);
    else
        m.read.store(read + n);
}

// Moves on all transfers of which none to or from the same peer is before it. Are all done?
static bool move_all(struct nccl_comm *c, transfer_list &transfers)
{
    bool done = true, blocked[2][RANKS_MOST] = {};
    for (struct transfer &t : transfers) {
        if (!blocked[t.send][t.peer] && t.moved < t.size)
            move(c, t);
        if (t.moved < t.size)
            done = false, blocked[t.send][t.peer] = true;
    }
    return done;
}

static bool has_fault(const struct nccl_comm *c, const char *fault)
{
    return !strcmp(c->fault, fault);
}

static bool is_uniform(const struct nccl_comm *c, const struct exchange &x)
{
    for (size_t i = 0; i < x.theirs.size(); i++)
        if (!x.transfers[2 * i].send && x.theirs[i] != x.capture) {
            fprintf(stderr, "cudahost: an exchange is of capture %llu on rank %d, of %llu on rank %d (0: none)\n",
                    static_cast<unsigned long long>(x.capture), c->rank, static_cast<unsigned long long>(x.theirs[i]),
                    x.transfers[2 * i].peer);
            return false;
        }
    return true;
}

// Queues the transfers, and what is to be done then; it is over when the other ranks have done their part, or the
// communicator is given up.
static int queue_exchange(struct nccl_comm *c, cudaStream_t stream, const transfer_list &transfers,
                          const std::function<void()> &then)
{
    auto x = std::make_shared<struct exchange>();
    x->capture = cudahost::capture_of(stream);
    c->captures.insert(x->capture);
    x->theirs.resize(transfers.size());
    for (size_t i = 0; i < transfers.size(); i++) {
        const struct transfer &t = transfers[i];
        uint64_t *number = t.send ? &x->capture : &x->theirs[i];
        x->transfers.push_back({t.send, reinterpret_cast<char *>(number), sizeof *number, 0, t.peer});
        x->transfers.push_back(t);
    }
    cudaError_t rc = cudahost::stream_queue(stream, [=] {
        if (c->given_up)
            return cudaSuccess;
        if (!move_all(c, x->transfers))
            return cudaErrorNotReady;
        for (struct transfer &t : x->transfers)
            t.moved = 0; // it may run again
        if (!is_uniform(c, *x))
            return cudaErrorLaunchFailure;
        then();
        return cudaSuccess;
    });
    return rc ? 1 : NCCL_SUCCESS;
}

// Queues what the group collected.
static int queue_group(struct group *g)
{
    struct nccl_comm *c = g->comm;
    c->exchanges++;
    if (has_fault(c, "error") && c->exchanges >= FAULT_FROM) {
        c->failed = true;
        c->part->aborted.store(1);
    }
    if (has_fault(c, "lost") && c->exchanges >= FAULT_FROM)
        g->transfers.erase(
            std::remove_if(g->transfers.begin(), g->transfers.end(), [](const struct transfer &t) { return t.send; }),
            g->transfers.end());
    if (has_fault(c, "unrecorded") && cudahost::capture_of(g->stream)) {
        c->captures.insert(cudahost::capture_of(g->stream));
        c->part->aborted.store(1);
        return SYSTEM_ERROR;
    }
    return queue_exchange(c, g->stream, g->transfers, [] {});
}

static bool is_urgent(void *stream)
{
    int least = 0, greatest = 0, priority = 0;
    return !cudaDeviceGetStreamPriorityRange(&least, &greatest) &&
           !cudaStreamGetPriority(static_cast<cudaStream_t>(stream), &priority) && priority == greatest;
}

static int join_group(struct nccl_comm *c, void *stream)
{
    if (!open_group || !is_urgent(stream))
        return INVALID_USAGE;
    if (open_group->comm && (open_group->comm != c || open_group->stream != stream))
        return INVALID_USAGE;
    open_group->comm = c;
    open_group->stream = static_cast<cudaStream_t>(stream);
    return NCCL_SUCCESS;
}

static int add_transfer(bool send, void *data, size_t count, int type, int peer, struct nccl_comm *c, void *stream)
{
    if ((type != NCCL_FLOAT && type != NCCL_BFLOAT16) || peer < 0 || peer >= c->ranks || peer == c->rank ||
        join_group(c, stream))
        return INVALID_USAGE;
    open_group->transfers.push_back({send, static_cast<char *>(data), count * (type == NCCL_FLOAT ? 4 : 2), 0, peer});
    return NCCL_SUCCESS;
}

// ---- the interface ------------------------------------------------------------------------------------------------

EXPORT int ncclGetVersion(int *version)
{
    *version = 21400;
    return NCCL_SUCCESS;
}

EXPORT int ncclGetUniqueId(struct nccl_id *id)
{
    static int count;
    memset(id, 0, sizeof *id);
    snprintf(id->bytes, sizeof id->bytes, "/islr-cudahost-nccl-%d-%d", static_cast<int>(getpid()), ++count);
    return NCCL_SUCCESS;
}

EXPORT int ncclCommInitRankConfig(struct nccl_comm **out, int ranks, struct nccl_id id, int rank,
                                  struct nccl_config *config)
{
    if (ranks < 1 || ranks > RANKS_MOST || rank < 0 || rank >= ranks || config->magic != NCCL_CONFIG_MAGIC ||
        config->blocking != 0)
        return INVALID_USAGE;
    int fd = shm_open(id.bytes, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(struct shared_part)))
        return SYSTEM_ERROR;
    void *part = mmap(nullptr, sizeof(struct shared_part), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (part == MAP_FAILED)
        return SYSTEM_ERROR;
    struct nccl_comm *c = new nccl_comm();
    c->rank = rank;
    c->ranks = ranks;
    c->part = static_cast<struct shared_part *>(part);
    const char *fault = getenv("CUDAHOST_NCCL");
    if (fault && atoi(fault) == rank && strchr(fault, ':'))
        snprintf(c->fault, sizeof c->fault, "%s", strchr(fault, ':') + 1);
    *out = c;
    if (!has_fault(c, "absent") && c->part->arrived.fetch_add(1) + 1 == ranks)
        shm_unlink(id.bytes); // all have it
    return NCCL_IN_PROGRESS;
}

EXPORT int ncclCommGetAsyncError(struct nccl_comm *c, int *result)
{
    c->arrived = c->arrived || c->part->arrived.load() == c->ranks;
    *result = c->failed                 ? static_cast<int>(SYSTEM_ERROR)
              : c->part->aborted.load() ? static_cast<int>(REMOTE_ERROR)
              : c->arrived              ? static_cast<int>(NCCL_SUCCESS)
                                        : static_cast<int>(NCCL_IN_PROGRESS);
    return NCCL_SUCCESS;
}

EXPORT int ncclCommFinalize(struct nccl_comm *)
{
    return NCCL_SUCCESS;
}

static void wait_for_captures(const struct nccl_comm *c)
{
    for (uint64_t number : c->captures)
        while (cudahost::capture_goes_on(number)) // of this very thread: for ever
            pause();
}

EXPORT int ncclCommDestroy(struct nccl_comm *c)
{
    wait_for_captures(c);
    munmap(c->part, sizeof *c->part);
    delete c;
    return NCCL_SUCCESS;
}

// What is queued ends without having done its part; it may still look at the communicator, which therefore stays.
EXPORT int ncclCommAbort(struct nccl_comm *c)
{
    while (has_fault(c, "abort-hangs"))
        pause();
    wait_for_captures(c);
    c->part->aborted.store(1);
    c->given_up = true;
    return NCCL_SUCCESS;
}

EXPORT int ncclGroupStart(void)
{
    if (group_depth++ == 0)
        open_group = new group();
    return NCCL_SUCCESS;
}

EXPORT int ncclGroupEnd(void)
{
    if (!open_group || --group_depth)
        return open_group ? static_cast<int>(NCCL_SUCCESS) : static_cast<int>(INVALID_USAGE);
    int rc = open_group->comm ? queue_group(open_group) : static_cast<int>(NCCL_SUCCESS);
    delete open_group;
    open_group = nullptr;
    return rc;
}

EXPORT int ncclSend(const void *from, size_t count, int type, int peer, struct nccl_comm *c, void *stream)
{
    return add_transfer(true, const_cast<void *>(from), count, type, peer, c, stream);
}

EXPORT int ncclRecv(void *to, size_t count, int type, int peer, struct nccl_comm *c, void *stream)
{
    return add_transfer(false, to, count, type, peer, c, stream);
}

// out := the sum of all ranks' contributions to `count` elements, in an order of its own, as NCCL's is: from the last rank
// down, in fp32. This rank's are at `own`; it sends those at send(r) to rank r.
template <class Send>
static int queue_sum(struct nccl_comm *c, void *stream, const float *own, float *out, size_t count, Send send)
{
    auto parts = std::make_shared<std::vector<std::vector<float>>>(c->ranks, std::vector<float>(count));
    transfer_list transfers;
    if (open_group || !is_urgent(stream))
        return INVALID_USAGE;
    for (int r = 0; r < c->ranks; r++) {
        if (r == c->rank)
            continue;
        transfers.push_back(
            {true, reinterpret_cast<char *>(const_cast<float *>(send(r))), count * sizeof(float), 0, r});
        transfers.push_back({false, reinterpret_cast<char *>((*parts)[r].data()), count * sizeof(float), 0, r});
    }
    c->exchanges++;
    return queue_exchange(c, static_cast<cudaStream_t>(stream), transfers, [=] {
        memcpy((*parts)[c->rank].data(), own, count * sizeof(float));
        for (size_t i = 0; i < count; i++) {
            float sum = 0;
            for (int r = c->ranks - 1; r >= 0; r--)
                sum += (*parts)[r][i];
            out[i] = sum;
        }
    });
}

EXPORT int ncclAllReduce(const void *from, void *to, size_t count, int type, int operation, struct nccl_comm *c,
                         void *stream)
{
    const float *data = static_cast<const float *>(from);
    if (type != NCCL_FLOAT || operation != NCCL_SUM)
        return INVALID_USAGE;
    return queue_sum(c, stream, data, static_cast<float *>(to), count, [=](int) { return data; });
}

// In place alone, as core/comm calls it; so the next one.
EXPORT int ncclReduceScatter(const void *from, void *to, size_t count, int type, int operation, struct nccl_comm *c,
                             void *stream)
{
    const float *data = static_cast<const float *>(from);
    float *own = static_cast<float *>(to);
    if (type != NCCL_FLOAT || operation != NCCL_SUM || own != data + count * static_cast<size_t>(c->rank))
        return INVALID_USAGE;
    return queue_sum(c, stream, own, own, count, [=](int r) { return data + count * static_cast<size_t>(r); });
}

EXPORT int ncclAllGather(const void *from, void *to, size_t count, int type, struct nccl_comm *c, void *stream)
{
    char *all = static_cast<char *>(to), *own = all + count * static_cast<size_t>(c->rank);
    if (type != NCCL_INT8 || from != own)
        return INVALID_USAGE;
    ncclGroupStart();
    int rc = join_group(c, stream);
    for (int r = 0; r < c->ranks && !rc; r++) {
        if (r == c->rank)
            continue;
        open_group->transfers.push_back({true, own, count, 0, r});
        open_group->transfers.push_back({false, all + count * static_cast<size_t>(r), count, 0, r});
    }
    int end = ncclGroupEnd();
    return rc ? rc : end;
}

EXPORT const char *ncclGetErrorString(int result)
{
    return result == SYSTEM_ERROR    ? "unhandled system error"
           : result == REMOTE_ERROR  ? "remote process exited or there was a network error"
           : result == INVALID_USAGE ? "invalid usage"
                                     : "no error";
}

EXPORT const char *ncclGetLastError(struct nccl_comm *)
{
    return "";
}

// Stream capture and graphs of the host model: see graph.h.
#include "tests/cudahost/graph.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

namespace
{

struct node {
    std::function<cudaError_t()> work;
    std::set<int> after; // all before it in the list
};

typedef std::vector<struct node> node_list;

struct capture {
    uint64_t number;
    cudaStream_t origin;
    bool spoilt;
    node_list nodes;
    std::map<cudaStream_t, std::set<int>> streams; // those in it, and what their next node waits for
};

std::vector<std::unique_ptr<struct capture>> captures; // under way
uint64_t captures_begun;

} // namespace

struct cudahost_graph {
    std::shared_ptr<node_list> nodes;
};

struct cudahost_graph_exec {
    std::shared_ptr<node_list> nodes;
};

static struct capture *find(cudaStream_t s)
{
    for (auto &c : captures)
        if (c->streams.count(s))
            return c.get();
    return nullptr;
}

static struct capture *find(uint64_t number)
{
    for (auto &c : captures)
        if (c->number == number)
            return c.get();
    return nullptr;
}

// ---- while a stream is captured -----------------------------------------------------------------------------------

namespace cudahost
{

uint64_t capture_of(cudaStream_t s)
{
    struct capture *c = find(s);
    return c ? c->number : 0;
}

bool capture_goes_on(uint64_t number)
{
    return find(number) != nullptr;
}

cudaError_t capture_add(cudaStream_t s, std::function<cudaError_t()> work)
{
    struct capture *c = find(s);
    if (c->spoilt)
        return cudaErrorStreamCaptureInvalidated;
    std::set<int> &tip = c->streams[s];
    c->nodes.push_back({std::move(work), std::move(tip)});
    tip = {static_cast<int>(c->nodes.size()) - 1};
    return cudaSuccess;
}

struct captured_point capture_mark(cudaStream_t s)
{
    struct capture *c = find(s);
    return {c->number, c->streams[s]};
}

cudaError_t capture_wait(cudaStream_t s, const struct captured_point &p)
{
    struct capture *own = find(s), *c = p.number ? find(p.number) : nullptr;
    if (!p.number)
        return capture_forbids(s, cudaErrorStreamCaptureIsolation);
    if (own && own != c)
        return capture_forbids(s, cudaErrorStreamCaptureMerge);
    if (!c)
        return cudaErrorCapturedEvent; // its capture is over
    if (c->spoilt)
        return cudaErrorStreamCaptureInvalidated;
    c->streams[s].insert(p.nodes.begin(), p.nodes.end());
    return cudaSuccess;
}

cudaError_t capture_forbids()
{
    for (auto &c : captures)
        c->spoilt = true;
    return captures.empty() ? cudaSuccess : cudaErrorStreamCaptureUnsupported;
}

cudaError_t capture_forbids(cudaStream_t s, cudaError_t why)
{
    struct capture *c = find(s);
    if (!c)
        return cudaSuccess;
    c->spoilt = true;
    return why;
}

} // namespace cudahost

cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode mode)
{
    if (mode != cudaStreamCaptureModeThreadLocal)
        return cudaErrorInvalidValue;
    if (find(s))
        return cudaErrorInvalidValue;
    captures.push_back(std::make_unique<struct capture>());
    struct capture *c = captures.back().get();
    c->number = ++captures_begun;
    c->origin = s;
    c->streams[s] = {};
    const char *fault = getenv("CUDAHOST_CAPTURE");
    c->spoilt = fault && !strcmp(fault, "broken");
    return cudaSuccess;
}

// Has the origin waited for all that the other streams did?
static bool is_joined(const struct capture &c)
{
    std::vector<bool> reached(c.nodes.size());
    for (int i : c.streams.at(c.origin))
        reached[i] = true;
    for (size_t i = c.nodes.size(); i-- > 0;)
        for (int before : c.nodes[i].after)
            reached[before] = reached[before] || reached[i];
    for (auto &[stream, tip] : c.streams)
        for (int i : tip)
            if (!reached[i])
                return false;
    return true;
}

cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *graph)
{
    struct capture *c = find(s);
    *graph = nullptr;
    if (!c)
        return cudaErrorInvalidValue;
    if (c->origin != s) {
        c->spoilt = true;
        return cudaErrorStreamCaptureUnmatched;
    }
    const char *fault = getenv("CUDAHOST_CAPTURE");
    c->spoilt = c->spoilt || (fault && !strcmp(fault, "spoilt"));
    cudaError_t rc = c->spoilt        ? cudaErrorStreamCaptureInvalidated
                     : !is_joined(*c) ? cudaErrorStreamCaptureUnjoined
                                      : cudaSuccess;
    if (!rc)
        *graph = new cudahost_graph{std::make_shared<node_list>(std::move(c->nodes))};
    for (auto i = captures.begin(); i != captures.end(); ++i)
        if (i->get() == c) {
            captures.erase(i);
            break;
        }
    return rc;
}

// ---- graphs -------------------------------------------------------------------------------------------------------

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags)
{
    *exec = nullptr;
    if (!graph || flags)
        return cudaErrorInvalidValue;
    *exec = new cudahost_graph_exec{graph->nodes};
    return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t)
{
    return exec ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    delete exec; // what is queued of it keeps its nodes
    return cudaSuccess;
}

static bool is_ready(const struct node &n, const std::vector<bool> &done)
{
    for (int before : n.after)
        if (!done[before])
            return false;
    return true;
}

// One pass over what is not done, from the last on. Has anything been done?
static bool run_pass(const node_list &nodes, std::vector<bool> &done, cudaError_t *failed)
{
    bool moved = false;
    for (size_t i = nodes.size(); i-- > 0 && !*failed;) {
        if (done[i] || !is_ready(nodes[i], done))
            continue;
        cudaError_t rc = nodes[i].work();
        if (rc && rc != cudaErrorNotReady)
            *failed = rc;
        done[i] = !rc;
        moved = moved || !rc;
    }
    return moved;
}

std::function<cudaError_t()> cudahost::graph_runner(cudaGraphExec_t exec)
{
    auto nodes = exec->nodes;
    auto done = std::make_shared<std::vector<bool>>(nodes->size());
    return [=] {
        cudaError_t failed = cudaSuccess;
        while (run_pass(*nodes, *done, &failed))
            ;
        for (size_t i = 0; i < nodes->size() && !failed; i++)
            if (!(*done)[i])
                return cudaErrorNotReady;
        return failed;
    };
}

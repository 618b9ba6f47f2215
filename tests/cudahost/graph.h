// Captures of streams and the graphs they become, for runtime.cc: what is queued while a stream is captured, and what of
// it waits for what. The rules are those of CUDA's stream capture in the mode that ends at the thread; a process of the
// model has one.
#ifndef ISLR_TESTS_CUDAHOST_GRAPH_H
#define ISLR_TESTS_CUDAHOST_GRAPH_H

#include <cstdint>
#include <functional>
#include <set>

#include "cuda_runtime_api.h"

namespace cudahost
{

// What an event that was recorded in a capture stands for; number 0: it was recorded outside.
struct captured_point {
    uint64_t number; // of the capture
    std::set<int> nodes;
};

// Number of the capture that the stream is in, or 0. They count from 1.
uint64_t capture_of(cudaStream_t s);
bool capture_goes_on(uint64_t number);

// The stream must be in a capture: what it is given is kept. The work runs once for each replay.
cudaError_t capture_add(cudaStream_t s, std::function<cudaError_t()> work);
struct captured_point capture_mark(cudaStream_t s);
// The stream waits for a point: it comes into that capture where it is in none.
cudaError_t capture_wait(cudaStream_t s, const struct captured_point &p);

// What must not be done while anything, or while this stream, is captured: it spoils the capture. cudaSuccess where
// nothing is.
cudaError_t capture_forbids();
cudaError_t capture_forbids(cudaStream_t s, cudaError_t why = cudaErrorStreamCaptureUnsupported);

// Runs what is left of a graph, as far as that can be: cudaErrorNotReady where it waits for another process. The order is
// the reverse of the capture's, as far as what waits for what allows. A function that begins anew with each call of
// graph_runner().
std::function<cudaError_t()> graph_runner(cudaGraphExec_t exec);

} // namespace cudahost

#endif

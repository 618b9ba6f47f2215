// Recordings of queued work as CUDA graphs: backend.h, record_begin(). A stream is captured; others come in when order()
// lets them wait for one that is, as CUDA has it. What fails meanwhile fails the recording, not the streams.
#include <stdlib.h>

#include "core/base/memory.h"
#include "kernels/cuda/cuda.h"

struct recording {
    struct cuda_backend *backend;
    cudaGraphExec_t graph;
};

int cuda_record_allows(struct stream *s, const char *what)
{
    struct error e;
    if (!((struct cuda_stream *)s)->recorded)
        return 1;
    error_set(&e, ERR_FAILED, "%s cannot be recorded: its memory on the host is another one each time", what);
    cuda_fail(s, &e);
    return 0;
}

void cuda_record_follow(struct stream *earlier, struct stream *later)
{
    struct cuda_stream *from = (struct cuda_stream *)earlier, *c = (struct cuda_stream *)later;
    if (!from->recorded || c->recorded)
        return;
    c->recorded = from->recorded;
    c->also = from->recorded->also;
    from->recorded->also = c;
}

// The streams of c's recording are themselves again.
static void leave(struct cuda_stream *c)
{
    while (c) {
        struct cuda_stream *next = c->also;
        c->failed.code = ERR_NONE;
        c->recorded = c->also = NULL;
        c = next;
    }
}

int cuda_record_begin(struct stream *s, struct error *e)
{
    struct cuda_stream *c = (struct cuda_stream *)s;
    assert(!c->recorded);
    cudaSetDevice(cuda_of(s)->device);
    if (!cuda_ok(s)) {
        *e = c->failed; // for synchronize too
        return -1;
    }
    // What other threads do with the device meanwhile - NCCL's do - is no concern of the recording.
    cudaError_t rc = cudaStreamBeginCapture(c->cuda, cudaStreamCaptureModeThreadLocal);
    if (rc) {
        cudaGetLastError();
        return cuda_error(e, cuda_of(s), rc, "begin a recording");
    }
    c->recorded = c;
    return 0;
}

struct recording *cuda_record_end(struct stream *s, struct error *e)
{
    struct cuda_stream *c = (struct cuda_stream *)s;
    struct recording *r = xcalloc(1, sizeof *r);
    cudaGraph_t graph = NULL;
    assert(c->recorded == c);
    cudaSetDevice(cuda_of(s)->device);
    cudaError_t rc = cudaStreamEndCapture(c->cuda, &graph);
    struct error failed = c->failed;
    leave(c);
    if (rc && failed.code == ERR_NONE)
        cuda_error(&failed, cuda_of(s), rc, "end a recording");
    if (failed.code == ERR_NONE && (rc = cudaGraphInstantiate(&r->graph, graph, 0)))
        cuda_error(&failed, cuda_of(s), rc, "make a recording ready");
    if (failed.code == ERR_NONE && (rc = cudaGraphUpload(r->graph, c->cuda)))
        cuda_error(&failed, cuda_of(s), rc, "put a recording on the device");
    if (graph)
        cudaGraphDestroy(graph);
    r->backend = cuda_of(s);
    if (failed.code == ERR_NONE)
        return r;
    cudaGetLastError(); // the recording's, not that of what is launched next
    cuda_recording_destroy(r);
    *e = failed;
    return NULL;
}

int cuda_record_stands(struct stream *s)
{
    const struct cuda_stream *origin = ((struct cuda_stream *)s)->recorded;
    return !origin || origin->failed.code == ERR_NONE;
}

void cuda_replay(struct stream *s, struct recording *r)
{
    struct cuda_stream *c = (struct cuda_stream *)s;
    cudaSetDevice(r->backend->device);
    if (!cuda_ok(s))
        return;
    c->replayed = 1;
    cuda_check(s, cudaGraphLaunch(r->graph, c->cuda), "replay a recording");
}

void cuda_recording_destroy(struct recording *r)
{
    if (!r)
        return;
    cudaSetDevice(r->backend->device);
    if (r->graph)
        cudaGraphExecDestroy(r->graph);
    free(r);
}

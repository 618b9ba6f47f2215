// Loads NCCL: see nccl_library.h.
#include "core/comm/nccl_library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const places[] = {"libnccl.so.2", "/usr/local/cuda/lib64/libnccl.so.2",
                                     "/usr/local/cuda/lib/libnccl.so.2"};

static const struct {
    const char *name;
    size_t offset;
} functions[] = {
    {"ncclGetVersion", offsetof(struct nccl_library, get_version)},
    {"ncclGetUniqueId", offsetof(struct nccl_library, get_unique_id)},
    {"ncclCommInitRankConfig", offsetof(struct nccl_library, comm_init_rank_config)},
    {"ncclCommGetAsyncError", offsetof(struct nccl_library, comm_get_async_error)},
    {"ncclCommFinalize", offsetof(struct nccl_library, comm_finalize)},
    {"ncclCommDestroy", offsetof(struct nccl_library, comm_destroy)},
    {"ncclCommAbort", offsetof(struct nccl_library, comm_abort)},
    {"ncclAllReduce", offsetof(struct nccl_library, all_reduce)},
    {"ncclReduceScatter", offsetof(struct nccl_library, reduce_scatter)},
    {"ncclAllGather", offsetof(struct nccl_library, all_gather)},
    {"ncclSend", offsetof(struct nccl_library, send)},
    {"ncclRecv", offsetof(struct nccl_library, recv)},
    {"ncclGroupStart", offsetof(struct nccl_library, group_start)},
    {"ncclGroupEnd", offsetof(struct nccl_library, group_end)},
    {"ncclGetErrorString", offsetof(struct nccl_library, get_error_string)},
    {"ncclGetLastError", offsetof(struct nccl_library, get_last_error)},
};

static void *open_library(struct error *e)
{
    const char *given = getenv("ISLR_NCCL_LIBRARY");
    void *handle = NULL;
    if (given && *given) {
        handle = dlopen(given, RTLD_NOW | RTLD_LOCAL);
        if (!handle)
            error_set(e, ERR_NOT_FOUND, "ISLR_NCCL_LIBRARY: %s", dlerror());
        return handle;
    }
    for (size_t i = 0; i < sizeof places / sizeof *places && !handle; i++)
        handle = dlopen(places[i], RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        error_set(e, ERR_NOT_FOUND, "there is no libnccl.so.2 (ISLR_NCCL_LIBRARY names one in another place)");
    return handle;
}

int nccl_library_load(struct nccl_library *l, struct error *e)
{
    void *handle = open_library(e);
    if (!handle)
        return -1;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        void *function = dlsym(handle, functions[i].name);
        if (!function)
            return error_set(e, ERR_FAILED, "this NCCL has no %s: 2.14 or newer is needed", functions[i].name);
        *(void **)((char *)l + functions[i].offset) = function;
    }
    return 0;
}

const char *nccl_library_version(const struct nccl_library *l, char text[NCCL_VERSION_SIZE])
{
    int v = 0;
    if (l->get_version(&v) != NCCL_SUCCESS)
        v = 0;
    snprintf(text, NCCL_VERSION_SIZE, "NCCL %d.%d.%d", v / 10000, v % 10000 / 100, v % 100);
    return text;
}

// Opens the device that a rank computes on: see device.h.
#include "core/train/device.h"

#include <string.h>
#include <unistd.h>

#include "core/base/parallel.h"

int device_threads(const struct comm *comm)
{
    int mine = parallel_cores(), here = 0;
    for (int i = 0; i < comm_size(comm); i++)
        here += !strcmp(comm_host(comm, i), comm_host(comm, comm_rank(comm)));
    if (mine < sysconf(_SC_NPROCESSORS_ONLN)) // bound by the launcher
        return mine;
    return mine / here > 1 ? mine / here : 1;
}

struct backend *device_open(const char *kind, int threads, const struct comm *comm, struct error *e)
{
    if (!strcmp(kind, "cuda")) {
        error_set(e, ERR_FAILED, "this islrd was built without CUDA: use --device cpu");
        return NULL;
    }
    return backend_cpu_open(threads > 0 ? threads : device_threads(comm), e);
}

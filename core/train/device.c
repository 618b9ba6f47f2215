// Opens the device that a rank computes on: see device.h.
#include "core/train/device.h"

#include <string.h>
#include <unistd.h>

#include "core/base/parallel.h"
#include "kernels/cuda_open.h"

int device_threads(const struct comm *comm)
{
    int mine = parallel_cores(), here = 0;
    for (int i = 0; i < comm_size(comm); i++)
        here += !strcmp(comm_host(comm, i), comm_host(comm, comm_rank(comm)));
    if (mine < sysconf(_SC_NPROCESSORS_ONLN)) // bound by the launcher
        return mine;
    return mine / here > 1 ? mine / here : 1;
}

// This rank's number among those of its host, and how many there are.
static int local_rank(const struct comm *comm, int *here)
{
    int mine = 0;
    *here = 0;
    for (int i = 0; i < comm_size(comm); i++) {
        if (strcmp(comm_host(comm, i), comm_host(comm, comm_rank(comm))))
            continue;
        mine += i < comm_rank(comm);
        ++*here;
    }
    return mine;
}

struct backend *device_open(const char *kind, int threads, const struct comm *comm, struct error *e)
{
    struct error none = {0};
    int here, local = local_rank(comm, &here);
    if (!strcmp(kind, "cuda") || (!strcmp(kind, "auto") && backend_cuda_count(&none) >= here))
        return backend_cuda_open(local, e);
    return backend_cpu_open(threads > 0 ? threads : device_threads(comm), e);
}

// Loads the CUDA backend: see cuda_open.h. The object stays loaded, as CUDA does not like to be unloaded.
#include "kernels/cuda_open.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIBRARY "libislr_cuda.so"
#define DRIVER  "libcuda.so.1"

// Where the object may be, from the program's directory: installed, and in the build directory.
static const char *const places[] = {"../" ISLR_LIBDIR "/islr", ".", "../kernels/cuda", "../../kernels/cuda"};

static int program_directory(char *path, size_t size, struct error *e)
{
    ssize_t n = readlink("/proc/self/exe", path, size);
    if (n < 0 || (size_t)n >= size)
        return error_set_errno(e, ERR_FAILED, "cannot find out where this program lies");
    while (n > 0 && path[n - 1] != '/')
        n--;
    path[n > 0 ? n - 1 : 0] = 0;
    return 0;
}

// The object's path; -1 with `e` filled if there is none.
static int find_library(char *path, size_t size, struct error *e)
{
    char directory[PATH_MAX];
    const char *given = getenv("ISLR_CUDA_LIBRARY");
    if (given && *given) {
        if ((size_t)snprintf(path, size, "%s", given) < size && !access(path, R_OK))
            return 0;
        return error_set_errno(e, ERR_FAILED, "ISLR_CUDA_LIBRARY=%s", given);
    }
    if (program_directory(directory, sizeof directory, e))
        return -1;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if ((size_t)snprintf(path, size, "%s/%s/" LIBRARY, directory, places[i]) < size && !access(path, R_OK))
            return 0;
    return error_set(e, ERR_FAILED,
                     "this islr has no CUDA backend: %s/%s/" LIBRARY " is not there (to have it, build where "
                     "CUDA 12.4 or newer is, with -Dcuda=enabled; without it, use --device cpu)",
                     directory, places[0]);
}

// The driver's library, without which the large libraries that the backend needs are not worth loading. A backend that
// the environment names may not need it.
static int find_driver(struct error *e)
{
    const char *given = getenv("ISLR_CUDA_LIBRARY");
    if (given && *given)
        return 0;
    void *driver = dlopen(DRIVER, RTLD_LAZY | RTLD_LOCAL);
    if (!driver)
        return error_set(e, ERR_FAILED,
                         "no CUDA device: this machine has no NVIDIA driver (%s); it comes with the card's driver, "
                         "or with its container toolkit",
                         dlerror());
    dlclose(driver);
    return 0;
}

static const struct cuda_library *load(struct error *e)
{
    char path[PATH_MAX];
    if (find_library(path, sizeof path, e) || find_driver(e))
        return NULL;
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct cuda_library *library = handle ? dlsym(handle, "cuda_library") : NULL;
    if (!library) {
        error_set(e, ERR_FAILED, "the CUDA backend cannot be loaded: %s", dlerror());
        return NULL;
    }
    if (!strcmp(library->version, ISLR_VERSION) && library->table_size == sizeof(struct backend_ops))
        return library;
    error_set(e, ERR_FAILED, "%s is of islr %s, this program of %s: install both from one build", path,
              library->version, ISLR_VERSION);
    return NULL;
}

int backend_cuda_missing(struct error *e)
{
    char path[PATH_MAX];
    return find_library(path, sizeof path, e);
}

int backend_cuda_count(struct error *e)
{
    const struct cuda_library *library = load(e);
    return library ? library->count(e) : -1;
}

struct backend *backend_cuda_open(int device, struct error *e)
{
    const struct cuda_library *library = load(e);
    return library ? library->open(device, e) : NULL;
}

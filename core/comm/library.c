// Which MPI this is: see comm.h.
#include <string.h>

#include <mpi.h>

#include "core/comm/comm.h"

const char *comm_library(char text[COMM_LIBRARY_SIZE])
{
    char whole[MPI_MAX_LIBRARY_VERSION_STRING];
    int length = 0;
    if (MPI_Get_library_version(whole, &length) != MPI_SUCCESS) // may be called before MPI_Init
        length = 0;
    whole[length] = 0;
    size_t n = strcspn(whole, ",\n"); // what follows is who built it and where
    n = n < COMM_LIBRARY_SIZE - 1 ? n : COMM_LIBRARY_SIZE - 1;
    memcpy(text, whole, n);
    text[n] = 0;
    return text;
}

// NCCL as core/comm uses it: a table of its functions, loaded at run time, so that the program starts on machines that
// have none. What is declared here is NCCL's binary interface (nccl.h, from 2.14 on), by our names and without CUDA's
// types: a stream is a pointer, as cudaStream_t is. nccl_check.c compares it with nccl.h where a build has that.
#ifndef ISLR_COMM_NCCL_LIBRARY_H
#define ISLR_COMM_NCCL_LIBRARY_H

#include <stddef.h>

#include "core/base/error.h"

enum nccl_result { NCCL_SUCCESS = 0, NCCL_IN_PROGRESS = 7 }; // all others are failures
enum nccl_type { NCCL_INT8 = 0, NCCL_FLOAT = 7, NCCL_BFLOAT16 = 9 };
enum nccl_operation { NCCL_SUM = 0 };

#define NCCL_CONFIG_MAGIC   0xcafebeefu
#define NCCL_CONFIG_VERSION 21400u // of the fields below: a newer NCCL takes its own defaults for those it added

struct nccl_config {
    size_t size;
    unsigned magic, version;
    int blocking;
};

struct nccl_id {
    char bytes[128];
};

struct nccl_comm; // NCCL's own

struct nccl_library {
    int (*get_version)(int *version);
    int (*get_unique_id)(struct nccl_id *id);
    int (*comm_init_rank_config)(struct nccl_comm **comm, int ranks, struct nccl_id id, int rank,
                                 struct nccl_config *config);
    int (*comm_get_async_error)(struct nccl_comm *comm, int *result);
    int (*comm_finalize)(struct nccl_comm *comm);
    int (*comm_destroy)(struct nccl_comm *comm);
    int (*comm_abort)(struct nccl_comm *comm);
    int (*all_reduce)(const void *from, void *to, size_t count, int type, int operation, struct nccl_comm *comm,
                      void *stream);
    int (*reduce_scatter)(const void *from, void *to, size_t count_of_each, int type, int operation,
                          struct nccl_comm *comm, void *stream);
    int (*all_gather)(const void *from, void *to, size_t count_of_each, int type, struct nccl_comm *comm, void *stream);
    int (*send)(const void *from, size_t count, int type, int peer, struct nccl_comm *comm, void *stream);
    int (*recv)(void *to, size_t count, int type, int peer, struct nccl_comm *comm, void *stream);
    int (*group_start)(void);
    int (*group_end)(void);
    const char *(*get_error_string)(int result);
    const char *(*get_last_error)(struct nccl_comm *comm);
};

// Fills the table; what was loaded stays loaded. -1: there is no NCCL, or one older than 2.14. Environment:
// ISLR_NCCL_LIBRARY=PATH takes that file instead of libnccl.so.2 of the system or of a CUDA toolkit.
int nccl_library_load(struct nccl_library *l, struct error *e);

// "NCCL 2.27.7"
enum { NCCL_VERSION_SIZE = 32 };
const char *nccl_library_version(const struct nccl_library *l, char text[NCCL_VERSION_SIZE]);

#endif

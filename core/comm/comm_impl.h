// What an implementation of struct comm is made of. For core/comm alone.
#ifndef ISLR_COMM_COMM_IMPL_H
#define ISLR_COMM_COMM_IMPL_H

#include "core/comm/comm.h"

enum comm_type { COMM_F32, COMM_F64, COMM_BYTE };
enum comm_kind { COMM_SUM, COMM_REDUCE_SCATTER, COMM_ALL_GATHER };

// What runs beside a computation (comm.h).
struct comm_task {
    enum comm_kind kind;
    enum comm_type type;
    char *data;
    size_t count, unit; // elements; unit: of the ranks' parts, but for COMM_SUM
};

// Arguments have been checked, sizes of 0 included, when these are called. Those with an `e` return 0 or -1.
struct comm_ops {
    int (*barrier)(struct comm *c, struct error *e);
    int (*broadcast)(struct comm *c, void *data, size_t size, int root, struct error *e);
    int (*all_gather)(struct comm *c, const void *mine, size_t size, void *all, struct error *e);
    int (*gather_variable)(struct comm *c, const void *mine, const size_t *sizes, int root, void *all, struct error *e);
    void (*begin)(struct comm *c, const struct comm_task *t);
    void (*progress)(struct comm *c);
    int (*wait)(struct comm *c, struct error *e);
    struct comm *(*create_group)(struct comm *c, const int *ranks, int count, int tag, struct error *e);
    void (*close)(struct comm *c); // frees c
    void (*abort)(struct comm *c, int exit_code) __attribute__((noreturn));
};

// The head of every implementation's struct.
struct comm {
    const struct comm_ops *ops;
    int rank, size;
    const char *const *hosts; // [size]
    double timeout_seconds;
    struct pulse *pulse; // of the world and its groups: the world owns it
};

// The name of this machine: the environment's ISLR_HOST, else `found`.
void comm_host_name(const char *found, char *name, size_t size);

// The environment's ISLR_COMM_TIMEOUT, or COMM_TIMEOUT_SECONDS.
int comm_timeout_default(double *seconds, struct error *e);

// Opens MPI's world (comm_mpi.c). `launched`: as how many ranks the launcher says it started us, or 0 where it does not.
struct comm *comm_mpi_open_world(int launched, struct error *e);

#endif

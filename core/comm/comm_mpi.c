// Collectives over MPI: the world, its groups, and the collectives that move data as it is (sums: comm_mpi_reduce.c).
// Every pair of ranks talks directly: made for tens of ranks with large data, not for thousands.
#include "core/comm/comm_mpi.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "core/base/hash.h"
#include "core/base/memory.h"

#define ABORT_SECONDS 10
enum { ABORT_TURNS = 15, ABORT_TURN_MS = 200 };
#define BROADCAST_SMALL ((size_t)64 << 10) // up to here the root sends all to each

static struct comm_mpi *mpi_of(struct comm *c)
{
    return (struct comm_mpi *)c;
}

int comm_mpi_next_tag(struct comm_mpi *c)
{
    return (int)(c->operations++ % 16384) * 2; // MPI promises tags up to 32767
}

int comm_mpi_check(const struct comm_mpi *c, struct error *e)
{
    if (!c->world->broken)
        return 0;
    if (e)
        *e = c->world->why;
    return -1;
}

int comm_mpi_break(struct comm_mpi *c, const struct error *why)
{
    if (!c->world->broken) {
        c->world->broken = 1;
        c->world->why = *why;
    }
    return -1;
}

int comm_mpi_error(const struct comm_mpi *c, int mpi_error, int peer, struct error *e)
{
    char text[MPI_MAX_ERROR_STRING] = "unknown error";
    int length;
    MPI_Error_string(mpi_error, text, &length);
    if (peer < 0)
        return error_set(e, ERR_FAILED, "MPI failed on rank %d: %s", c->base.rank, text);
    return error_set(e, ERR_FAILED, "MPI failed between rank %d on %s and rank %d on %s: %s", c->base.rank,
                     c->base.hosts[c->base.rank], peer, c->base.hosts[peer], text);
}

// ---- collectives --------------------------------------------------------------------------------------------------

// Sends `mine` to all others and gets theirs at all + rank*size (for size 0: only learns that they are there).
static int exchange(struct comm_mpi *c, const void *mine, size_t size, char *all, const char *what, struct error *e)
{
    struct error trouble = {0};
    struct messages *m = &c->messages;
    int tag = comm_mpi_next_tag(c);
    if (comm_mpi_check(c, e))
        return -1;
    for (int r = 0; r < c->base.size; r++)
        if (r != c->base.rank && messages_receive(m, all ? all + (size_t)r * size : NULL, size, r, 0, tag, &trouble))
            goto failed;
    for (int r = 0; r < c->base.size; r++)
        if (r != c->base.rank && messages_send(m, mine, size, r, 0, tag, &trouble))
            goto failed;
    return messages_wait(m, NULL, NULL, what, e);
failed:
    comm_mpi_break(c, &trouble);
    return comm_mpi_check(c, e);
}

static int mpi_barrier(struct comm *base, struct error *e)
{
    return exchange(mpi_of(base), NULL, 0, NULL, "a barrier", e);
}

static int mpi_all_gather(struct comm *base, const void *mine, size_t size, void *all, struct error *e)
{
    memcpy((char *)all + (size_t)base->rank * size, mine, size);
    return exchange(mpi_of(base), mine, size, all, "a gathering", e);
}

// Where rank r's part of a large broadcast begins; that of rank `size` is the end.
static size_t part_start(const struct comm *c, size_t size, int r)
{
    size_t ranks = (size_t)c->size;
    return size / ranks * (size_t)r + size % ranks * (size_t)r / ranks;
}

// A large broadcast leaves the root once: it sends each rank that rank's part (phase 0), and all ranks pass their part on
// to those that lack it (phase 1; the root its own part).
struct broadcast {
    struct comm_mpi *comm;
    char *data;
    size_t size;
    int root, tag;
};

static int send_part(const struct broadcast *b, int part, int peer, int phase, struct error *e)
{
    size_t start = part_start(&b->comm->base, b->size, part), end = part_start(&b->comm->base, b->size, part + 1);
    return messages_send(&b->comm->messages, b->data + start, end - start, peer, phase, b->tag + phase, e);
}

static int receive_part(const struct broadcast *b, int part, int peer, int phase, struct error *e)
{
    size_t start = part_start(&b->comm->base, b->size, part), end = part_start(&b->comm->base, b->size, part + 1);
    return messages_receive(&b->comm->messages, b->data + start, end - start, peer, phase, b->tag + phase, e);
}

static int pass_on(void *context, const struct message *m, struct error *e)
{
    const struct broadcast *b = context;
    int rank = b->comm->base.rank, rc = 0;
    if (m->direction != MESSAGE_RECEIVE || m->phase != 0)
        return 0;
    for (int r = 0; rc == 0 && r < b->comm->base.size; r++)
        if (r != rank && r != b->root)
            rc = send_part(b, rank, r, 1, e);
    return rc;
}

static int post_broadcast(const struct broadcast *b, struct error *e)
{
    int rank = b->comm->base.rank, rc = 0;
    for (int r = 0; rc == 0 && r < b->comm->base.size; r++) {
        if (r == rank)
            continue;
        if (rank == b->root)
            rc = send_part(b, r, r, 0, e) || send_part(b, rank, r, 1, e);
        else
            rc = (r == b->root && receive_part(b, rank, r, 0, e)) || receive_part(b, r, r, 1, e);
    }
    return rc ? -1 : 0;
}

static int post_small_broadcast(const struct broadcast *b, struct error *e)
{
    struct messages *m = &b->comm->messages;
    if (b->comm->base.rank != b->root)
        return messages_receive(m, b->data, b->size, b->root, 1, b->tag, e);
    for (int r = 0; r < b->comm->base.size; r++)
        if (r != b->root && messages_send(m, b->data, b->size, r, 1, b->tag, e))
            return -1;
    return 0;
}

static int mpi_broadcast(struct comm *base, void *data, size_t size, int root, struct error *e)
{
    struct comm_mpi *c = mpi_of(base);
    struct broadcast b = {c, data, size, root, comm_mpi_next_tag(c)};
    struct error trouble;
    if (comm_mpi_check(c, e))
        return -1;
    if (size <= BROADCAST_SMALL ? post_small_broadcast(&b, &trouble) : post_broadcast(&b, &trouble)) {
        comm_mpi_break(c, &trouble);
        return comm_mpi_check(c, e);
    }
    return messages_wait(&c->messages, pass_on, &b, "a broadcast", e);
}

static int mpi_gather_variable(struct comm *base, const void *mine, const size_t *sizes, int root, void *all,
                               struct error *e)
{
    struct comm_mpi *c = mpi_of(base);
    struct error trouble;
    int tag = comm_mpi_next_tag(c), rc = 0;
    if (comm_mpi_check(c, e))
        return -1;
    if (base->rank != root)
        rc = messages_send(&c->messages, mine, sizes[base->rank], root, 0, tag, &trouble);
    char *to = all;
    for (int r = 0; base->rank == root && rc == 0 && r < base->size; to += sizes[r++])
        if (r != root)
            rc = messages_receive(&c->messages, to, sizes[r], r, 0, tag, &trouble);
        else if (sizes[r])
            memcpy(to, mine, sizes[r]);
    if (rc) {
        comm_mpi_break(c, &trouble);
        return comm_mpi_check(c, e);
    }
    return messages_wait(&c->messages, NULL, NULL, "a gathering", e);
}

// ---- the world and its groups -------------------------------------------------------------------------------------

static struct comm *mpi_create_group(struct comm *c, const int *ranks, int count, int tag, struct error *e);
static void mpi_close(struct comm *c);
static void mpi_abort(struct comm *c, int exit_code) __attribute__((noreturn));

static const struct comm_ops mpi_ops = {
    .barrier = mpi_barrier,
    .broadcast = mpi_broadcast,
    .all_gather = mpi_all_gather,
    .gather_variable = mpi_gather_variable,
    .begin = comm_mpi_begin,
    .progress = comm_mpi_progress,
    .wait = comm_mpi_wait,
    .create_group = mpi_create_group,
    .close = mpi_close,
    .abort = mpi_abort,
};

// Takes over `channel`. The hosts are not known yet: "an unknown host".
static struct comm_mpi *mpi_create(MPI_Comm channel, struct mpi_world *world, double timeout)
{
    struct comm_mpi *c = xcalloc(1, sizeof *c);
    c->channel = channel;
    c->world = world;
    c->base.ops = &mpi_ops;
    c->base.timeout_seconds = timeout;
    c->base.pulse = &world->pulse;
    MPI_Comm_rank(channel, &c->base.rank);
    MPI_Comm_size(channel, &c->base.size);
    size_t size = (size_t)c->base.size;
    c->messages = (struct messages){.comm = c, .channel = channel};
    c->reduction = reduction_create(c);
    c->host_names = xcalloc(size, sizeof *c->host_names);
    const char **hosts = xcalloc(size, sizeof *hosts);
    for (size_t r = 0; r < size; r++) {
        strcpy(c->host_names[r], "an unknown host");
        hosts[r] = c->host_names[r];
    }
    c->base.hosts = hosts;
    return c;
}

static void mpi_destroy(struct comm_mpi *c)
{
    reduction_destroy(c->reduction);
    messages_free(&c->messages);
    free((void *)c->base.hosts);
    free(c->host_names);
    free(c->world_ranks);
    free(c);
}

static int gather_hosts(struct comm_mpi *c, struct error *e)
{
    char found[MPI_MAX_PROCESSOR_NAME] = "", mine[MPI_MAX_PROCESSOR_NAME] = "";
    int length;
    MPI_Get_processor_name(found, &length);
    comm_host_name(found, mine, sizeof mine);
    memcpy(c->host_names[c->base.rank], mine, sizeof mine);
    return exchange(c, mine, sizeof mine, c->host_names[0], "joining the world", e);
}

// Some containers forbid reading another process's memory. Open MPI then says so for each large message before it takes
// another way: tell it beforehand.
static void avoid_forbidden_copies(void)
{
    char from = 1, to = 0;
    struct iovec source = {&from, 1}, target = {&to, 1};
    if (process_vm_readv(getpid(), &target, 1, &source, 1, 0) != 1)
        setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 0);
}

struct comm *comm_mpi_open_world(int launched, struct error *e)
{
    double timeout;
    int given = MPI_THREAD_SINGLE, size = 0;
    if (comm_timeout_default(&timeout, e))
        return NULL;
    avoid_forbidden_copies();
    // Before MPI_Init, which talks to the launcher: once it is through, a dead launcher has been noticed.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &given) != MPI_SUCCESS) {
        error_set(e, ERR_FAILED, "MPI could not be initialised");
        return NULL;
    }
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Comm channel;
    if (given < MPI_THREAD_SERIALIZED)
        error_set(e, ERR_FAILED, "this MPI cannot be used by a program with threads (it gives level %d)", given);
    else if (launched && launched != size)
        error_set(e, ERR_FAILED,
                  "the launcher started %d ranks but MPI sees %d: is its mpirun or mpiexec of another MPI than the one "
                  "that this program was built with?",
                  launched, size);
    // Its own channel, since groups are created over MPI_COMM_WORLD.
    else if (MPI_Comm_dup(MPI_COMM_WORLD, &channel) != MPI_SUCCESS)
        error_set(e, ERR_FAILED, "MPI could not duplicate the world");
    else {
        MPI_Comm_set_errhandler(channel, MPI_ERRORS_RETURN);
        struct comm_mpi *c = mpi_create(channel, xcalloc(1, sizeof(struct mpi_world)), timeout);
        c->is_world = 1;
        if (gather_hosts(c, e) == 0)
            return &c->base;
        mpi_close(&c->base);
        return NULL;
    }
    MPI_Finalize();
    return NULL;
}

// Waits until all members have come, which MPI_Comm_create_group would do without end, and checks that they mean the
// same group.
static int meet_group(struct comm_mpi *world, const int *ranks, int count, int tag, struct error *e)
{
    struct messages m = {.comm = world, .channel = MPI_COMM_WORLD};
    struct hash mine = hash_memory(ranks, (size_t)count * sizeof *ranks);
    struct hash *theirs = xcalloc((size_t)count, sizeof *theirs);
    struct error trouble;
    int rc = 0;
    for (int i = 0; rc == 0 && i < count; i++) {
        theirs[i] = mine;
        if (ranks[i] != world->base.rank)
            rc = messages_receive(&m, &theirs[i], sizeof mine, ranks[i], 0, tag, &trouble) ||
                 messages_send(&m, &mine, sizeof mine, ranks[i], 0, tag, &trouble);
    }
    if (rc) {
        comm_mpi_break(world, &trouble);
        rc = comm_mpi_check(world, e);
    } else
        rc = messages_wait(&m, NULL, NULL, "building a group", e);
    for (int i = 0; rc == 0 && i < count; i++)
        if (!hash_equal(&mine, &theirs[i])) {
            error_set(&trouble, ERR_FAILED, "rank %d on %s and rank %d on %s build group %d of different ranks",
                      world->base.rank, world->base.hosts[world->base.rank], ranks[i], world->base.hosts[ranks[i]],
                      tag);
            comm_mpi_break(world, &trouble);
            rc = comm_mpi_check(world, e);
        }
    messages_free(&m);
    if (!world->world->broken) // else a late message may still be written there
        free(theirs);
    return rc;
}

static struct comm *mpi_create_group(struct comm *base, const int *ranks, int count, int tag, struct error *e)
{
    struct comm_mpi *world = mpi_of(base);
    MPI_Group everyone, group;
    MPI_Comm channel = MPI_COMM_NULL;
    assert(world->is_world);
    if (comm_mpi_check(world, e) || meet_group(world, ranks, count, tag, e))
        return NULL;
    MPI_Comm_group(MPI_COMM_WORLD, &everyone);
    MPI_Group_incl(everyone, count, ranks, &group);
    int rc = MPI_Comm_create_group(MPI_COMM_WORLD, group, tag, &channel);
    MPI_Group_free(&group);
    MPI_Group_free(&everyone);
    if (rc != MPI_SUCCESS || channel == MPI_COMM_NULL) {
        struct error trouble;
        comm_mpi_error(world, rc, -1, &trouble);
        error_prefix(&trouble, "building a group");
        comm_mpi_break(world, &trouble);
        comm_mpi_check(world, e);
        return NULL;
    }
    MPI_Comm_set_errhandler(channel, MPI_ERRORS_RETURN);
    struct comm_mpi *c = mpi_create(channel, world->world, base->timeout_seconds);
    c->world_ranks = xcalloc((size_t)count, sizeof *c->world_ranks);
    for (int i = 0; i < count; i++) {
        memcpy(c->host_names[i], world->host_names[ranks[i]], sizeof c->host_names[i]);
        c->world_ranks[i] = ranks[i];
    }
    return &c->base;
}

static void mpi_close(struct comm *base)
{
    struct comm_mpi *c = mpi_of(base);
    struct mpi_world *world = c->world;
    int last = c->is_world;
    // MPI_Finalize waits without end; once all are here it has nothing to wait for.
    if (last && !world->broken)
        mpi_barrier(base, NULL);
    if (!world->broken) {
        MPI_Comm_free(&c->channel);
        if (last)
            MPI_Finalize();
    }
    mpi_destroy(c);
    if (last)
        free(world);
}

// What ends one rank often ends them all in the same moment, and mpirun (Open MPI 4.1) may crash over aborts that come
// together, its exit code with it. So ranks do it one after the other: the first one's mpirun ends the rest.
static void wait_for_turn(void)
{
    int rank;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    int turn = rank < ABORT_TURNS ? rank : ABORT_TURNS;
    struct timespec left = {.tv_sec = turn * ABORT_TURN_MS / 1000, .tv_nsec = turn * ABORT_TURN_MS % 1000 * 1000000L};
    while (nanosleep(&left, &left) && errno == EINTR)
        ;
}

static void mpi_abort(struct comm *c, int exit_code)
{
    (void)c;
    fflush(NULL);
    signal(SIGALRM, SIG_DFL);
    alarm(ABORT_SECONDS);
    wait_for_turn();
    MPI_Abort(MPI_COMM_WORLD, exit_code);
    _exit(exit_code);
}

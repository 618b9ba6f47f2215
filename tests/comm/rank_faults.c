// One rank of a world in which something goes wrong: test_faults.sh launches it with the name of what, and reads what the
// ranks say and how they end.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/comm/comm.h"

enum { COUNT = 1 << 20 };

// Calls the named collective; the values do not matter.
static int call(struct comm *c, const char *name, struct error *e)
{
    static float data[COUNT], all[8 * COUNT];
    size_t total, last = (size_t)comm_size(c) - 1;
    void *gathered;
    if (strcmp(name, "barrier") == 0)
        return comm_barrier(c, e);
    if (strcmp(name, "broadcast") == 0)
        return comm_broadcast(c, data, sizeof data, 0, e);
    if (strcmp(name, "broadcast-from-late") == 0)
        return comm_broadcast(c, data, sizeof data, (int)last, e);
    if (strcmp(name, "sum") == 0)
        return comm_sum_f32(c, data, COUNT, e);
    if (strcmp(name, "all-gather") == 0)
        return comm_all_gather(c, data, sizeof data, all, e);
    if (strcmp(name, "reduce-scatter") == 0) {
        comm_reduce_scatter_begin(c, data, COUNT);
        return comm_reduce_wait(c, e);
    }
    if (strcmp(name, "gather-parts") == 0) {
        comm_all_gather_begin(c, &(struct comm_part){data, sizeof data, 4096});
        return comm_reduce_wait(c, e);
    }
    if (strcmp(name, "gather") == 0) {
        int rc = comm_gather_variable(c, data, sizeof data, 0, &gathered, &total, NULL, e);
        free(gathered);
        return rc;
    }
    if (strcmp(name, "group") == 0) {
        int ranks[] = {0, 1, 2};
        struct comm *g = comm_create_group(c, ranks, comm_size(c), 5, e);
        comm_close(g);
        return g ? 0 : -1;
    }
    return error_set(e, ERR_INVALID, "no collective '%s'", name);
}

// Says what went wrong, and that nothing works from then on: it fails without waiting for the timeout again.
static void report(struct comm *c, const struct error *e, double began)
{
    struct error again;
    double later = clock_seconds();
    fprintf(stderr, "rank %d after %.0f s: %s\n", comm_rank(c), later - began, e->text);
    if (comm_barrier(c, &again) == 0 || strcmp(again.text, e->text) != 0 ||
        clock_seconds() - later > 0.9 * comm_timeout(c))
        fprintf(stderr, "rank %d: the communicator is not broken\n", comm_rank(c));
    usleep(300000); // let the others say theirs
    comm_abort(c, e->code);
}

// The last rank takes part once and stays away from the second call.
static void stay_away(struct comm *c, const char *name)
{
    struct error e;
    double began = clock_seconds();
    if (call(c, name, &e))
        report(c, &e, began);
    if (comm_rank(c) == comm_size(c) - 1)
        clock_sleep(300);
    began = clock_seconds();
    // What needs no answer (a small message is buffered) may succeed; the barrier cannot.
    if (call(c, name, &e) || call(c, "barrier", &e))
        report(c, &e, began);
}

// All sum without end until a signal or an exit ends the last rank.
static void die(struct comm *c, const char *how)
{
    static float data[COUNT];
    struct error e;
    double began = clock_seconds();
    for (int step = 0;; step++) {
        if (comm_sum_f32(c, data, COUNT, &e))
            report(c, &e, began);
        if (step == 0 && comm_rank(c) == 0)
            fprintf(stderr, "summing\n");
        if (step == 20 && comm_rank(c) == comm_size(c) - 1) {
            if (strcmp(how, "kill") == 0)
                kill(getpid(), SIGKILL);
            if (strcmp(how, "exit") == 0)
                exit(3);
        }
    }
}

// The ranks do not agree on what they do together.
static void disagree(struct comm *c, const char *what)
{
    static float data[COUNT];
    struct error e;
    double began = clock_seconds();
    int first = comm_rank(c) == 0, ranks[] = {first ? 1 : 0, first ? 0 : 1};
    if (strcmp(what, "size") == 0 && comm_sum_f32(c, data, first ? 1000 : 2000, &e))
        report(c, &e, began);
    int64_t flag = 1;
    if (strcmp(what, "collective") == 0 && (first ? comm_barrier(c, &e) : comm_max_i64(c, &flag, &e)))
        report(c, &e, began);
    if (strcmp(what, "group") == 0 && !comm_create_group(c, ranks, 2, 3, &e))
        report(c, &e, began);
}

int main(int argc, char **argv)
{
    struct error e;
    if (argc != 3)
        return 2;
    struct comm *c = comm_open_world(&e);
    if (!c) {
        fprintf(stderr, "%s\n", e.text);
        return e.code;
    }
    if (strcmp(argv[1], "stay-away") == 0)
        stay_away(c, argv[2]);
    else if (strcmp(argv[1], "die") == 0)
        die(c, argv[2]);
    else if (strcmp(argv[1], "disagree") == 0)
        disagree(c, argv[2]);
    comm_close(c);
    return 0;
}

// The main thread's loop of a worker rank: see work.h.
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "daemon/work.h"
#include "daemon/work_delivery.h"
#include "daemon/work_pulse.h"

static const double DELIVER_SECONDS = 30; // at the end, what is not delivered yet

// A name for this mpirun, the same on all its ranks.
static int name_world(struct comm *world, char name[33], struct error *e)
{
    uint8_t bytes[16] = {0};
    int failed = comm_rank(world) == 0 && getentropy(bytes, sizeof bytes);
    if (failed)
        error_set_errno(e, ERR_FAILED, "the system has no random bytes");
    if (comm_agree(world, failed, e) || comm_broadcast(world, bytes, sizeof bytes, 0, e))
        return -1;
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(name + 2 * i, 3, "%02x", bytes[i]);
    return 0;
}

int work_serve(const struct work_options *o, struct error *e)
{
    char name[33];
    Islr__Register facts = *o->facts;
    if (name_world(o->world, name, e))
        return -1;
    facts.world = name;
    facts.host = (char *)comm_host(o->world, comm_rank(o->world));
    facts.has_rank = facts.has_size = facts.has_pid = 1;
    facts.rank = (uint32_t)comm_rank(o->world);
    facts.size = (uint32_t)comm_size(o->world);
    facts.pid = (uint32_t)getpid();
    struct work_net_options net = {
        .address = o->address, .token = o->token, .facts = &facts, .log = o->log, .catch_signals = o->catch_signals};
    net.pulse = comm_pulse(o->world);
    net.alone_ms = o->alone_ms;
    net.retry_ms = o->retry_ms;
    struct work_net *n = work_net_start(&net, e);
    if (!n)
        return -1;
    struct work_pulse *pulse = work_pulse_start(n, net.pulse, o->log, e);
    if (!pulse) {
        work_net_stop(n);
        return -1;
    }
    struct error why = {ERR_NONE, ""};
    struct work_task *t;
    int rc = 0;
    while (!rc && (t = work_net_next(n, &why))) {
        work_pulse_begin(pulse, t);
        rc = work_run_task(o, n, t, &why);
        work_pulse_end(pulse);
        work_net_done(n, t);
    }
    if (!rc && why.code == ERR_NONE && work_delivery_wait(n, DELIVER_SECONDS))
        log_warn(o->log, "ending before everything was delivered: the server will let the run be resumed");
    work_pulse_stop(pulse);
    work_net_stop(n);
    if (rc || why.code != ERR_NONE)
        return error_set(e, why.code, "%s", why.text);
    return 0;
}

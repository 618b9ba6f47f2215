// A rank's signs of life: see work_pulse.h. All but start, begin, end and stop runs in the watchdog's thread.
#include "daemon/work_pulse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/rpc/envelope.h"
#include "core/rpc/peer.h"
#include "daemon/watchdog.h"

static const double PULSE_SECONDS = 2;   // how often the server hears
static const double GOODBYE_SECONDS = 5; // for a stuck rank's word to reach the server
static const size_t STACKS_MAX = 100000; // bytes of a stuck rank's stacks

struct work_pulse {
    struct work_net *net;
    struct pulse *pulse;
    const struct log *log;
    struct watchdog *dog;
    struct work_task *task; // the one that is watched
    double told;
};

struct pulse_mail {
    struct work_mail mail;
    Islr__Pulse pulse;
};

static void send_pulse(struct work_net *n, struct work_mail *mail)
{
    struct pulse_mail *m = (struct pulse_mail *)mail;
    struct peer *peer = work_net_peer(n);
    Islr__Envelope e = ENVELOPE(PULSE, pulse, &m->pulse);
    if (peer && (m->pulse.stuck || !peer_is_full(peer)))
        peer_send(peer, &e, NULL); // the next one says more
    free(m->pulse.doing);
    free(m->pulse.waits);
    free(m->pulse.where);
    free(m->pulse.stacks);
    free(m);
}

static char *clean_copy(const char *text, size_t most)
{
    char *copy = text ? xprintf("%.*s", (int)most, text) : NULL;
    if (copy)
        envelope_clean_text(copy);
    return copy;
}

static void tell(struct work_pulse *p, const struct watchdog_view *v)
{
    struct pulse_mail *m = xcalloc(1, sizeof *m);
    Islr__Pulse *out = &m->pulse;
    islr__pulse__init(out);
    m->mail.deliver = send_pulse;
    out->has_run = out->has_attempt = out->has_step = out->has_quiet_ms = out->has_stuck = 1;
    out->run = p->task->run;
    out->attempt = p->task->attempt;
    out->step = v->step;
    out->quiet_ms = (uint32_t)(v->quiet_seconds * 1e3);
    out->doing = clean_copy(v->doing, 60);
    out->waits = clean_copy(v->waits, 30);
    out->has_waits_for = v->waits && v->waits_for >= 0;
    out->waits_for = out->has_waits_for ? (uint32_t)v->waits_for : 0;
    out->has_waits_more = out->has_waits_for;
    out->waits_more = (uint32_t)v->waits_more;
    out->stuck = v->stuck;
    if (v->stuck) {
        out->where = clean_copy(v->brief, 240);
        out->stacks = clean_copy(v->stacks, STACKS_MAX);
    }
    work_net_post(p->net, &m->mail);
}

// The other ranks wait for this one, which will not come: it ends, and mpirun ends the world.
static void leave(struct work_pulse *p, const struct watchdog_view *v)
{
    double until = clock_seconds() + GOODBYE_SECONDS;
    log_error(p->log, "run %llu: this rank is stuck: it has done nothing for %.0f s (%s, step %llu), at %s\n%s",
              (unsigned long long)p->task->run, v->quiet_seconds, v->doing ? v->doing : "at the start", v->step,
              v->brief, v->stacks);
    while (!atomic_load(&p->task->stop) && clock_seconds() < until) // set when the server has taken it in
        clock_sleep(0.05);
    fflush(NULL);
    _exit(ERR_TIMEOUT);
}

static void look(void *context, const struct watchdog_view *v)
{
    struct work_pulse *p = context;
    double now = clock_seconds();
    if (v->stuck || now - p->told >= PULSE_SECONDS) {
        p->told = now;
        tell(p, v);
    }
    if (v->stuck)
        leave(p, v);
}

struct work_pulse *work_pulse_start(struct work_net *n, struct pulse *pulse, const struct log *log, struct error *e)
{
    struct work_pulse *p = xcalloc(1, sizeof *p);
    *p = (struct work_pulse){.net = n, .pulse = pulse, .log = log};
    p->dog = watchdog_start(&(struct watchdog_options){pulse, p, look}, e);
    if (p->dog)
        return p;
    free(p);
    return NULL;
}

void work_pulse_begin(struct work_pulse *p, struct work_task *t)
{
    p->task = t;
    p->told = 0;
    atomic_store(&p->pulse->step, 0);
    pulse_doing(p->pulse, "start");
    watchdog_watch(p->dog, work_net_hang_seconds(p->net));
}

void work_pulse_end(struct work_pulse *p)
{
    watchdog_rest(p->dog);
}

void work_pulse_stop(struct work_pulse *p)
{
    if (!p)
        return;
    watchdog_stop(p->dog);
    free(p);
}

// What the trainer tells, on its way to the server: see work_sink.h.
#include "daemon/work_sink.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/rpc/protocol.h"

static const double PROGRESS_SECONDS = 0.5;

// What the server would never hear of: the run is asked to stop, and fails with the first of it.
static void fail(struct work_sink *s, const struct error *why)
{
    if (s->failed)
        return;
    s->failed = 1;
    s->why = *why;
    log_error(s->log, "run %llu: %s; it is asked to stop", (unsigned long long)s->task->run, why->text);
}

// ---- records --------------------------------------------------------------------------------------------------------

static void add_record(struct work_sink *s, Islr__Record *r)
{
    struct error e;
    if (!s->spool || s->failed)
        return;
    r->has_time_ms = 1;
    r->time_ms = clock_wall_ms();
    if (spool_add(s->spool, r, &e)) {
        fail(s, &e);
        return;
    }
    work_delivery_records(s->net);
    if (s->spool_max && !s->full && spool_waiting(s->spool) > s->spool_max) {
        s->full = 1; // records are kept to the last all the same: the resume point is behind them
        log_warn(s->log,
                 "run %llu: the server has not taken the last %llu MiB of records: the run is saved and ends here",
                 (unsigned long long)s->task->run, (unsigned long long)(spool_waiting(s->spool) >> 20));
    }
}

static void remember_evaluation(struct work_sink *s, const struct sink_metrics *m)
{
    enum { MOST = sizeof s->evaluation.values / sizeof *s->evaluation.values };
    s->evaluation.step = m->step;
    s->evaluation.count = m->count < MOST ? m->count : MOST;
    for (int i = 0; i < s->evaluation.count; i++) {
        snprintf(s->evaluation.names[i], sizeof s->evaluation.names[i], "%s", m->metrics[i].name);
        s->evaluation.values[i] = m->metrics[i].value;
    }
}

static void take_metrics(void *context, const struct sink_metrics *m)
{
    struct work_sink *s = context;
    int count = m->count > 0 ? m->count : 0;
    Islr__Record r = ISLR__RECORD__INIT;
    Islr__MetricPoint point = ISLR__METRIC_POINT__INIT;
    char **names = xcalloc((size_t)count + 1, sizeof *names);
    double *values = xcalloc((size_t)count + 1, sizeof *values);
    for (int i = 0; i < count; i++) {
        names[i] = xprintf("%.*s", RPC_NAME_MAX, m->metrics[i].name);
        envelope_clean_text(names[i]);
        values[i] = m->metrics[i].value;
    }
    point.has_step = point.has_epoch = point.has_evaluation = 1;
    point.step = m->step;
    point.epoch = m->epoch;
    point.evaluation = m->evaluation != 0;
    point.n_names = point.n_values = (size_t)count;
    point.names = names;
    point.values = values;
    r.what_case = ISLR__RECORD__WHAT_METRIC;
    r.metric = &point;
    s->epoch = m->epoch;
    if (m->evaluation)
        remember_evaluation(s, m);
    add_record(s, &r);
    for (int i = 0; i < count; i++)
        free(names[i]);
    free(names);
    free(values);
}

static void take_log(void *context, enum log_level level, const char *line)
{
    struct work_sink *s = context;
    const char *mark = level == LOG_WARN ? "warning: " : level == LOG_ERROR ? "error: " : "";
    if (level >= LOG_WARN)
        log_line(s->log, level, "run %llu: %s", (unsigned long long)s->task->run, line);
    if (level < LOG_INFO || !s->spool)
        return;
    Islr__Record r = ISLR__RECORD__INIT;
    r.what_case = ISLR__RECORD__WHAT_LOG;
    r.log = xprintf("%s%.*s", mark, (int)RPC_LINE_MAX - 16, line);
    envelope_clean_text(r.log);
    add_record(s, &r);
    free(r.log);
}

// ---- files ----------------------------------------------------------------------------------------------------------

static void add_figure(struct work_file *w, const char *name, double value)
{
    w->metrics = xrealloc(w->metrics, (size_t)w->metric_count + 1, sizeof *w->metrics);
    Islr__Value *v = &w->metrics[w->metric_count++];
    islr__value__init(v);
    v->name = xprintf("%.*s", RPC_NAME_MAX, name);
    envelope_clean_text(v->name);
    v->has_value = 1;
    v->value = value;
}

// Those that the evaluation at its step found of this model ("accuracy/student").
static void add_figures(const struct work_sink *s, const struct sink_file *f, struct work_file *w)
{
    if (!f->step || s->evaluation.step != f->step)
        return;
    for (int i = 0; i < s->evaluation.count; i++) {
        const char *slash = strrchr(s->evaluation.names[i], '/');
        if (slash && !strcmp(slash + 1, f->what))
            add_figure(w, s->evaluation.names[i], s->evaluation.values[i]);
    }
}

// malloc'ed; NULL: it has none. Resume points come and go.
static char *give_second_name(struct work_sink *s, const struct sink_file *f)
{
    struct error e;
    char *kept = xprintf("%s/%06u", s->outbox, ++s->files);
    if (!link(f->path, kept))
        return kept;
    error_set_errno(&e, ERR_FAILED, "%s cannot be delivered: cannot link %s to %s", f->what, f->path, kept);
    free(kept);
    if (strcmp(f->what, "resume"))
        fail(s, &e);
    else
        log_warn(s->log, "run %llu: %s", (unsigned long long)s->task->run, e.text);
    return NULL;
}

static void take_file(void *context, const struct sink_file *f)
{
    struct work_sink *s = context;
    char *kept = s->spool ? give_second_name(s, f) : NULL;
    if (!kept)
        return;
    struct work_file *w = xcalloc(1, sizeof *w);
    w->what = xstrdup(f->what);
    w->path = xstrdup(f->path);
    w->kept = kept;
    w->epoch = f->epoch;
    w->step = f->step;
    w->time_ms = clock_wall_ms();
    w->after_seq = spool_count(s->spool);
    w->member_count = f->member_count;
    w->members = xcalloc((size_t)f->member_count + 1, sizeof *w->members);
    for (int i = 0; i < f->member_count; i++)
        w->members[i] = xstrdup(f->members[i]);
    add_figures(s, f, w);
    work_delivery_file(s->net, w);
}

// ---- progress -------------------------------------------------------------------------------------------------------

struct progress_mail {
    struct work_mail mail;
    Islr__Progress progress;
    char doing[32];
};

static void send_progress(struct work_net *n, struct work_mail *mail)
{
    struct progress_mail *p = (struct progress_mail *)mail;
    struct peer *peer = work_net_peer(n);
    Islr__Envelope m = ENVELOPE(PROGRESS, progress, &p->progress);
    if (peer && !peer_is_full(peer))
        peer_send(peer, &m, NULL); // the next one says more
    free(p);
}

static void take_progress(void *context, const struct sink_progress *p)
{
    struct work_sink *s = context;
    double now = clock_seconds();
    if (now - s->told < PROGRESS_SECONDS && !strcmp(s->doing, p->doing))
        return;
    s->told = now;
    snprintf(s->doing, sizeof s->doing, "%s", p->doing);
    struct progress_mail *m = xcalloc(1, sizeof *m);
    m->mail.deliver = send_progress;
    Islr__Progress *out = &m->progress;
    islr__progress__init(out);
    snprintf(m->doing, sizeof m->doing, "%s", p->doing);
    out->has_run = out->has_attempt = out->has_step = out->has_steps = out->has_clips_per_second = out->has_epoch = 1;
    out->run = s->task->run;
    out->attempt = s->task->attempt;
    out->step = p->step;
    out->steps = p->steps;
    out->clips_per_second = p->clips_per_second;
    out->epoch = s->epoch;
    out->doing = m->doing;
    if (!s->task->job->train->steps) {
        out->has_epochs = 1;
        out->epochs = s->task->job->train->epochs;
    }
    work_net_post(s->net, &m->mail);
}

static int should_stop(void *context)
{
    struct work_sink *s = context;
    return s->failed || s->full || atomic_load(&s->task->stop);
}

struct run_sink work_sink_make(struct work_sink *s)
{
    return (struct run_sink){s, take_metrics, take_log, take_file, take_progress, should_stop};
}

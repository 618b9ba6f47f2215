// Runs in the foreground: see console.h.
#include "daemon/console.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/signals.h"

// Of the process, as signals are.
static atomic_int stop_requests;

static void *wait_for_signals(void *context)
{
    for (;;) {
        int number = signals_wait();
        if (atomic_fetch_add(&stop_requests, 1) > 0)
            _exit(128 + number);
    }
    return context;
}

int console_catch_signals(struct error *e)
{
    pthread_t thread;
    signals_hold();
    int rc = pthread_create(&thread, NULL, wait_for_signals, NULL);
    if (rc)
        return error_set(e, ERR_FAILED, "cannot start a thread: %s", strerror(rc));
    return pthread_detach(thread);
}

int console_stopped(void)
{
    return atomic_load(&stop_requests) > 0;
}

int console_late(const struct console *c)
{
    return c->deadline > 0 && clock_seconds() > c->deadline;
}

static int should_stop(void *context)
{
    return console_stopped() || console_late(context);
}

static void clear(struct console *c)
{
    if (c->drawn)
        fputs("\r\033[K", stderr);
    c->drawn = 0;
}

static void show_log(void *context, enum log_level level, const char *line)
{
    struct console *c = context;
    clear(c);
    log_line(&c->log, level, "%s", line);
}

static double figure(const struct sink_metrics *m, const char *name)
{
    for (int i = 0; i < m->count; i++)
        if (!strcmp(m->metrics[i].name, name))
            return m->metrics[i].value;
    return -1;
}

static void show_metrics(void *context, const struct sink_metrics *m)
{
    struct console *c = context;
    if (!m->evaluation) {
        double student = figure(m, "loss/student"), distilled = figure(m, "loss/distilled");
        int n = snprintf(c->losses, sizeof c->losses, "epoch %.0f, loss %.4f", m->epoch, student);
        if (distilled >= 0)
            snprintf(c->losses + n, sizeof c->losses - (size_t)n, ", distilled %.4f", distilled);
        return;
    }
    char line[512];
    int n = snprintf(line, sizeof line, "step %llu:", (unsigned long long)m->step);
    for (int i = 0; i < m->count && n < (int)sizeof line; i++)
        n += snprintf(line + n, sizeof line - (size_t)n, "%s %s %.4f", i ? "," : "", m->metrics[i].name,
                      m->metrics[i].value);
    show_log(c, LOG_INFO, line);
}

static void show_progress(void *context, const struct sink_progress *p)
{
    struct console *c = context;
    double now = clock_seconds();
    char left[48] = "";
    if (!c->began && p->steps) {
        c->began = now;
        c->began_at = p->step;
    }
    if (!p->steps || now - c->told < (c->terminal ? 0.2 : 10))
        return;
    c->told = now;
    if (p->step > c->began_at) { // else no rate is known
        char time[32];
        double seconds_a_step = (now - c->began) / (double)(p->step - c->began_at);
        snprintf(left, sizeof left, ", %s left", clock_format(seconds_a_step * (double)(p->steps - p->step), time));
    }
    if (c->terminal) {
        fprintf(stderr, "\r\033[K%s: step %llu/%llu, %s, %.0f clips/s%s", p->doing, (unsigned long long)p->step,
                (unsigned long long)p->steps, c->losses, p->clips_per_second, left);
        c->drawn = 1;
    } else {
        log_info(&c->log, "%s: step %llu/%llu, %s, %.0f clips/s%s", p->doing, (unsigned long long)p->step,
                 (unsigned long long)p->steps, c->losses, p->clips_per_second, left);
    }
}

struct run_sink console_sink(struct console *c, int quiet)
{
    *c = (struct console){.log = {stderr, LOG_INFO, NULL}, .terminal = isatty(STDERR_FILENO)};
    if (quiet)
        return (struct run_sink){.context = c, .should_stop = should_stop};
    return (struct run_sink){
        .context = c, .metrics = show_metrics, .log = show_log, .progress = show_progress, .should_stop = should_stop};
}

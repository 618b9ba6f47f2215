// A run as it goes: see live.h.
#include "client/live.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "client/run.h"
#include "client/text.h"
#include "core/base/clock.h"

static const double LINE_SECONDS = 10; // between lines where there is no terminal

void live_start(struct live *l, uint64_t run, bool quiet)
{
    memset(l, 0, sizeof *l);
    l->run = run;
    l->quiet = quiet;
    l->loss = l->distilled = l->clips_per_second = NAN;
    l->state = ISLR__RUN_STATE__RUN_QUEUED;
    l->terminal = isatty(STDERR_FILENO);
    l->shown = clock_seconds();
}

// ---- the line -------------------------------------------------------------------------------------------------------

__attribute__((format(printf, 3, 4))) static void add(char *text, size_t size, const char *format, ...)
{
    size_t n = strlen(text);
    va_list args;
    va_start(args, format);
    vsnprintf(text + n, size - n, format, args);
    va_end(args);
}

// Steps a second over the samples; 0: unknown.
static double step_rate(const struct live *l)
{
    if (l->sample_count < 2)
        return 0;
    unsigned first = l->sample_count > LIVE_SAMPLES ? l->sample_count % LIVE_SAMPLES : 0;
    unsigned last = (l->sample_count - 1) % LIVE_SAMPLES;
    int64_t ms = l->samples[last].time_ms - l->samples[first].time_ms;
    uint64_t from = l->samples[first].step, to = l->samples[last].step;
    return ms > 0 && to > from ? (double)(to - from) * 1000 / (double)ms : 0;
}

void live_format(const struct live *l, char *text, size_t size)
{
    char left[32], curve[SPARK_SIZE];
    double rate = step_rate(l);
    snprintf(text, size, "run %llu", (unsigned long long)l->run);
    if (l->state != ISLR__RUN_STATE__RUN_RUNNING || !l->step) {
        add(text, size, "  %s", l->state != ISLR__RUN_STATE__RUN_RUNNING ? run_state_name(l->state) : "");
        if (l->state == ISLR__RUN_STATE__RUN_RUNNING)
            add(text, size, "%s", *l->doing ? l->doing : "running");
        return;
    }
    if (l->epochs)
        add(text, size, "  epoch %.0f/%u", ceil(l->epoch), l->epochs);
    else if (l->epoch > 0)
        add(text, size, "  epoch %.0f", ceil(l->epoch));
    if (l->steps)
        add(text, size, "  step %llu/%llu", (unsigned long long)l->step, (unsigned long long)l->steps);
    else
        add(text, size, "  step %llu", (unsigned long long)l->step);
    if (!isnan(l->loss))
        add(text, size, "  loss %.4g", l->loss);
    if (!isnan(l->distilled))
        add(text, size, "  distilled %.4g", l->distilled);
    if (!isnan(l->clips_per_second))
        add(text, size, "  %.0f clips/s", l->clips_per_second);
    if (rate > 0 && l->steps >= l->step)
        add(text, size, "  %s left", clock_format((double)(l->steps - l->step) / rate, left));
    if (*l->doing && strcmp(l->doing, "train"))
        add(text, size, "  (%s)", l->doing);
    if (l->curve.count > 1) // last: it is what a narrow terminal can do without
        add(text, size, "  %s", spark_text(&l->curve, curve));
}

static int columns(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || !size.ws_col ? 80 : size.ws_col;
}

void live_clear(struct live *l)
{
    if (!l->drawn)
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    l->drawn = false;
}

// To so many columns, every character being one wide.
static void cut(char *text, int most)
{
    for (int n = 0; *text; text++)
        if (((unsigned char)*text & 0xc0) != 0x80 && n++ == most) {
            *text = 0;
            return;
        }
}

static void draw(struct live *l)
{
    char text[256];
    live_format(l, text, sizeof text);
    if (!l->terminal) {
        fprintf(stderr, "%s\n", text);
        return;
    }
    cut(text, columns() - 1);
    if (l->drawn && !strcmp(text, l->line))
        return;
    strcpy(l->line, text);
    fputs("\r", stderr);
    text_print(stderr, text);
    fputs("\033[K", stderr);
    fflush(stderr);
    l->drawn = true;
}

// ---- what happens ---------------------------------------------------------------------------------------------------

static void add_sample(struct live *l, int64_t time_ms, uint64_t step)
{
    unsigned last = (l->sample_count + LIVE_SAMPLES - 1) % LIVE_SAMPLES;
    if (l->sample_count && step <= l->samples[last].step)
        l->sample_count = 0; // an attempt that began again from its resume point
    if (l->sample_count && time_ms < l->samples[last].time_ms + 1000)
        return;
    l->samples[l->sample_count % LIVE_SAMPLES].time_ms = time_ms;
    l->samples[l->sample_count % LIVE_SAMPLES].step = step;
    l->sample_count++;
}

static void note_step(struct live *l, const Islr__Record *r)
{
    const Islr__MetricPoint *m = r->metric;
    l->step = m->step;
    l->epoch = m->epoch;
    for (size_t i = 0; i < m->n_names && i < m->n_values; i++) {
        if (!strcmp(m->names[i], "loss/student")) {
            l->loss = m->values[i];
            spark_add(&l->curve, l->loss);
        } else if (!strcmp(m->names[i], "loss/distilled"))
            l->distilled = m->values[i];
        else if (!strcmp(m->names[i], "clips_per_second"))
            l->clips_per_second = m->values[i];
    }
    add_sample(l, r->time_ms, m->step);
}

static void print_evaluation(const Islr__MetricPoint *m)
{
    printf("epoch %.4g  step %llu", m->epoch, (unsigned long long)m->step);
    for (size_t i = 0; i < m->n_names && i < m->n_values; i++) {
        fputs("  ", stdout);
        text_print(stdout, m->names[i]);
        printf(" %.4f", m->values[i]);
    }
    putchar('\n');
}

static void note_state(struct live *l, const Islr__Record *r)
{
    l->state = r->state;
    l->sample_count = 0;
    *l->doing = 0;
    if (l->quiet)
        return;
    live_clear(l);
    printf("run %llu: %s", (unsigned long long)l->run, run_state_name(r->state));
    if (r->reason && *r->reason) {
        fputs(": ", stdout);
        text_print(stdout, r->reason);
    }
    putchar('\n');
}

// What a run of the group says. How it goes is the group's line's, its states are lines of the group's log.
static void print_member(struct live *l, uint64_t member, const Islr__Record *r)
{
    int line = r->what_case == ISLR__RECORD__WHAT_LOG;
    if (l->quiet || (!line && (r->what_case != ISLR__RECORD__WHAT_METRIC || !r->metric->evaluation)))
        return;
    live_clear(l);
    printf("%llu| ", (unsigned long long)member);
    if (line) {
        text_print(stdout, r->log);
        putchar('\n');
    } else {
        print_evaluation(r->metric);
    }
}

static int on_record(void *context, uint64_t member, const Islr__Record *r)
{
    struct live *l = context;
    if (member) {
        print_member(l, member, r);
        return ferror(stdout);
    }
    switch (r->what_case) {
    case ISLR__RECORD__WHAT_METRIC:
        if (!r->metric->evaluation) {
            note_step(l, r);
        } else if (!l->quiet) {
            live_clear(l);
            print_evaluation(r->metric);
        }
        break;
    case ISLR__RECORD__WHAT_LOG:
        if (!l->quiet) {
            live_clear(l);
            text_print(stdout, r->log);
            putchar('\n');
        }
        break;
    case ISLR__RECORD__WHAT_STATE:
        note_state(l, r);
        break;
    default:
        break;
    }
    return ferror(stdout);
}

static void on_batch(void *context)
{
    struct live *l = context;
    fflush(stdout);
    if (l->terminal && !l->drawn && !run_state_ended(l->state))
        draw(l);
}

static void on_progress(void *context, const Islr__Progress *p)
{
    struct live *l = context;
    l->steps = p->steps;
    l->epochs = p->epochs;
    if (p->step >= l->step) {
        if (isnan(l->loss) && p->step > l->step)
            add_sample(l, clock_wall_ms(), p->step); // a group, which has no steps of its own
        l->step = p->step;
        l->epoch = p->epoch;
    }
    if (p->clips_per_second > 0)
        l->clips_per_second = p->clips_per_second;
    snprintf(l->doing, sizeof l->doing, "%s", p->doing ? p->doing : "");
    if (!run_state_ended(l->state))
        l->state = ISLR__RUN_STATE__RUN_RUNNING;
}

static void on_tick(void *context)
{
    struct live *l = context;
    double now = clock_seconds();
    if (run_state_ended(l->state) || (!l->terminal && now - l->shown < LINE_SECONDS))
        return;
    l->shown = now;
    draw(l);
}

static void on_notice(void *context, const char *text)
{
    struct live *l = context;
    live_clear(l);
    text_say("islrctl: %s", text);
}

struct follower_events live_events(struct live *l)
{
    return (struct follower_events){l, on_record, on_batch, on_progress, on_tick, on_notice};
}

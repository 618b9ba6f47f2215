// submit --sweep: see sweep.h. Most sweeps are told as their axes, whose values are read by themselves on top of the job:
// the file is read once, and the server makes the combinations. Where values only make sense beside others - a preset,
// over which what the file and other values say wins, or values of which one alone is no valid job - every combination is
// read for itself and told as a variation.
#include "client/sweep.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

struct axis {
    char *key;
    char **arguments; // "train.lr=1e-4"; NULL: a range of whole numbers
    size_t count;
    uint64_t first; // of a range
};

struct maker {
    struct sweep *sweep;
    const char *path, *directory;
    const struct option_list *overrides;
    struct axis *axes;
    size_t axis_count;
    int whole; // combinations are read for themselves
    struct faults *faults;
    struct error *e;
};

// ---- the values -----------------------------------------------------------------------------------------------------

static int add_value(struct axis *a, char *argument, struct error *e)
{
    if (a->count == SWEEP_RUNS_MAX) {
        free(argument);
        return error_set(e, ERR_INVALID, "--sweep %s has more than %d values", a->key, SWEEP_RUNS_MAX);
    }
    a->arguments = xrealloc(a->arguments, a->count + 1, sizeof *a->arguments);
    a->arguments[a->count++] = argument;
    return 0;
}

// "1..5". 0: it is none.
static int add_range(struct axis *a, const char *text, struct error *e)
{
    char *end;
    errno = 0;
    intmax_t first = strtoimax(text, &end, 10);
    if (end == text || strncmp(end, "..", 2))
        return 0;
    const char *behind = end + 2;
    intmax_t last = strtoimax(behind, &end, 10);
    if (end == behind || *end || errno || last < first || last - first >= SWEEP_RUNS_MAX)
        return error_set(e, ERR_INVALID, "--sweep %s=%s: a range is FIRST..LAST, of at most %d whole numbers", a->key,
                         text, SWEEP_RUNS_MAX);
    if (first >= 0 && spec_sweep_can_count(a->key)) {
        a->first = (uint64_t)first;
        a->count = (size_t)(last - first) + 1;
        return 1;
    }
    for (intmax_t v = first; v <= last; v++)
        if (add_value(a, xprintf("%s=%" PRIdMAX, a->key, v), e))
            return -1;
    return 1;
}

// How long the value is that `text` begins with.
static size_t value_length(const char *text)
{
    int depth = 0;
    char quote = 0;
    size_t n = 0;
    for (; text[n] && (text[n] != ',' || depth || quote); n++) {
        if (quote)
            quote = text[n] == quote ? 0 : quote;
        else if (text[n] == '"' || text[n] == '\'')
            quote = text[n];
        else if (strchr("[{", text[n]))
            depth++;
        else if (strchr("]}", text[n]))
            depth--;
    }
    return n;
}

static int read_axis(struct axis *a, const char *text, struct error *e)
{
    size_t n = strcspn(text, "=");
    if (!n || !text[n] || !text[n + 1])
        return error_set(e, ERR_INVALID, "--sweep '%s' is not KEY=VALUE,VALUE,.. or KEY=FIRST..LAST", text);
    a->key = xprintf("%.*s", (int)n, text);
    text += n + 1;
    int range = add_range(a, text, e);
    if (range)
        return range < 0 ? -1 : 0;
    for (;;) {
        n = value_length(text);
        if (!n)
            return error_set(e, ERR_INVALID, "--sweep %s has an empty value", a->key);
        if (add_value(a, xprintf("%s=%.*s", a->key, (int)n, text), e))
            return -1;
        if (!text[n])
            return 0;
        text += n + 1;
    }
}

static int read_axes(struct maker *m, const struct option_list *axes, size_t *runs)
{
    m->axes = xcalloc(axes->count, sizeof *m->axes);
    *runs = 1;
    for (size_t i = 0; i < axes->count; i++) {
        struct axis *a = &m->axes[m->axis_count++];
        if (read_axis(a, axes->items[i], m->e))
            return -1;
        for (size_t k = 0; k < i; k++)
            if (!strcmp(m->axes[k].key, a->key))
                return error_set(m->e, ERR_INVALID, "--sweep %s is given twice", a->key);
        m->whole |= !strcmp(a->key, "preset");
        *runs *= a->count;
        if (*runs > SWEEP_RUNS_MAX)
            return error_set(m->e, ERR_INVALID, "the sweep has more than %d runs", SWEEP_RUNS_MAX);
    }
    return 0;
}

// ---- the jobs -------------------------------------------------------------------------------------------------------

// The job with these arguments behind the overrides. NULL: faults, or *e.
static Islr__JobSpec *load(struct maker *m, char *const *arguments, size_t count, struct faults *faults)
{
    size_t before = m->overrides->count;
    const char **all = xcalloc(before + count + 1, sizeof *all);
    Islr__JobSpec *job = NULL;
    for (size_t i = 0; i < before + count; i++)
        all[i] = i < before ? m->overrides->items[i] : arguments[i - before];
    if (!spec_load(m->path, all, before + count, &job, faults, m->e))
        spec_make_absolute(job, m->directory);
    free(all);
    return job;
}

// The values of combination `at`, the last axis first.
static void choose(const struct maker *m, size_t at, size_t *choice)
{
    for (size_t i = m->axis_count; i-- > 0; at /= m->axes[i].count)
        choice[i] = at % m->axes[i].count;
}

// A value that is wrong in itself is so in many combinations: each fault once.
static void add_faults(struct faults *to, const struct faults *from)
{
    for (size_t i = 0; i < from->count; i++) {
        const struct fault *f = &from->items[i];
        size_t k = 0;
        while (k < to->count && (strcmp(to->items[k].source, f->source) || strcmp(to->items[k].field, f->field) ||
                                 strcmp(to->items[k].problem, f->problem) || to->items[k].line != f->line))
            k++;
        if (k == to->count)
            faults_add(to, f->source, f->line, f->column, f->field, f->allowed, f->nearest, "%s", f->problem);
    }
}

// "train.lr=1e-4", value k of the axis; free() it.
static char *argument_of(const struct axis *a, size_t k)
{
    return a->arguments ? xstrdup(a->arguments[k]) : xprintf("%s=%" PRIu64, a->key, a->first + k);
}

static Islr__JobSpec *load_combination(struct maker *m, const size_t *choice)
{
    struct faults found = {0};
    char **arguments = xcalloc(m->axis_count, sizeof *arguments);
    for (size_t i = 0; i < m->axis_count; i++)
        arguments[i] = argument_of(&m->axes[i], choice[i]);
    Islr__JobSpec *job = load(m, arguments, m->axis_count, &found);
    add_faults(m->faults, &found);
    faults_free(&found);
    for (size_t i = 0; i < m->axis_count; i++)
        free(arguments[i]);
    free(arguments);
    return job;
}

static char *label_of(const struct maker *m, const size_t *choice)
{
    struct strbuf b = {0};
    for (size_t i = 0; i < m->axis_count; i++) {
        char *argument = argument_of(&m->axes[i], choice[i]);
        strbuf_printf(&b, "%s%s", i ? "," : "", argument);
        free(argument);
    }
    return b.text;
}

// An empty list cannot be said to stand in another one's place (spec.h); widths that follow from transfo_dim can be.
static void fill_widths(const Islr__JobSpec *base, Islr__JobSpec *job)
{
    if (base->model->n_widths && !job->model->n_widths) {
        job->model->widths = xcalloc(4, sizeof *job->model->widths);
        job->model->n_widths = 4;
        spec_widths(job->model->transfo_dim, NULL, 0, job->model->widths);
    }
    if (base->distill->n_widths && !job->distill->n_widths) {
        job->distill->widths = xcalloc(4, sizeof *job->distill->widths);
        job->distill->n_widths = 4;
        spec_widths(job->distill->transfo_dim, NULL, 0, job->distill->widths);
    }
}

static int add_combination(struct maker *m, size_t at, size_t *choice)
{
    choose(m, at, choice);
    Islr__JobSpec *job = load_combination(m, choice);
    if (job)
        fill_widths(m->sweep->base, job);
    Islr__JobSpec *differs = job ? spec_difference(m->sweep->base, job, m->e) : NULL;
    spec_free(job);
    if (!differs)
        return m->faults->count ? 0 : -1;
    Islr__Variation *v = xcalloc(1, sizeof *v);
    islr__variation__init(v);
    v->differs = differs;
    v->label = label_of(m, choice);
    m->sweep->variations[m->sweep->variation_count++] = v;
    return 0;
}

static int make_variations(struct maker *m, size_t *choice, size_t runs)
{
    int rc = 0;
    m->sweep->variations = xcalloc(runs, sizeof *m->sweep->variations);
    for (size_t i = 0; i < runs && !rc; i++)
        rc = add_combination(m, i, choice);
    return rc;
}

// What all have in common: the job without the sweep or, where that is no valid one, the first combination.
static int make_base(struct maker *m, size_t *choice)
{
    struct faults alone = {0};
    m->sweep->base = load(m, NULL, 0, &alone);
    int invalid = alone.count > 0;
    faults_free(&alone);
    choose(m, 0, choice);
    if (!m->sweep->base && invalid) {
        m->sweep->base = load_combination(m, choice);
        m->whole = 1; // a value's difference from this base would undo the other axes' values
    }
    return m->sweep->base ? 0 : -1;
}

// A value by itself. 1: it does not fit so, which is said of the combinations.
static int add_axis_value(struct maker *m, Islr__Axis *axis, const char *argument)
{
    struct faults alone = {0};
    Islr__JobSpec *job = spec_with_argument(m->sweep->base, argument, &alone);
    faults_free(&alone);
    if (!job)
        return 1;
    spec_make_absolute(job, m->directory);
    fill_widths(m->sweep->base, job);
    Islr__JobSpec *differs = spec_difference(m->sweep->base, job, m->e);
    spec_free(job);
    if (!differs)
        return -1;
    axis->values[axis->n_values++] = differs;
    axis->labels[axis->n_labels++] = xstrdup(argument);
    return 0;
}

static int make_axis(struct maker *m, const struct axis *a)
{
    Islr__Axis *axis = xmalloc(sizeof *axis);
    int rc = 0;
    islr__axis__init(axis);
    m->sweep->axes[m->sweep->axis_count++] = axis;
    if (!a->arguments) {
        axis->key = xstrdup(a->key);
        axis->has_first = axis->has_count = 1;
        axis->first = a->first;
        axis->count = (uint32_t)a->count;
        return 0;
    }
    axis->values = xcalloc(a->count, sizeof *axis->values);
    axis->labels = xcalloc(a->count, sizeof *axis->labels);
    for (size_t k = 0; k < a->count && !rc; k++)
        rc = add_axis_value(m, axis, a->arguments[k]);
    return rc;
}

static void drop_axes(struct sweep *s)
{
    spec_sweep_close(&s->combinations);
    for (size_t i = 0; i < s->axis_count; i++)
        islr__axis__free_unpacked(s->axes[i], NULL);
    free(s->axes);
    s->axes = NULL;
    s->axis_count = 0;
}

// 1: not all values fit by themselves.
static int make_axes(struct maker *m)
{
    struct sweep *s = m->sweep;
    int rc = 0;
    s->axes = xcalloc(m->axis_count, sizeof *s->axes);
    for (size_t i = 0; i < m->axis_count && !rc; i++)
        rc = make_axis(m, &m->axes[i]);
    struct spec_sweep combinations = {0};
    if (!rc)
        rc = spec_sweep_open(&combinations, s->base, s->axes, s->axis_count, SWEEP_RUNS_MAX, m->e);
    if (!rc)
        spec_sweep_check(&combinations, m->faults);
    spec_sweep_close(&combinations);
    if (rc)
        drop_axes(s);
    return rc;
}

static void free_axes(struct maker *m)
{
    for (size_t i = 0; i < m->axis_count; i++) {
        for (size_t k = 0; m->axes[i].arguments && k < m->axes[i].count; k++)
            free(m->axes[i].arguments[k]);
        free(m->axes[i].key);
        free(m->axes[i].arguments);
    }
    free(m->axes);
}

int sweep_make(struct sweep *s, const char *path, const struct option_list *overrides, const struct option_list *axes,
               const char *directory, struct faults *faults, struct error *e)
{
    struct maker m = {.sweep = s, .path = path, .directory = directory, .overrides = overrides};
    size_t *choice = xcalloc(axes->count, sizeof *choice), runs = 0;
    memset(s, 0, sizeof *s);
    m.faults = faults;
    m.e = e;
    int rc = read_axes(&m, axes, &runs) || make_base(&m, choice) ? -1 : m.whole ? 1 : make_axes(&m);
    if (rc > 0)
        rc = make_variations(&m, choice, runs);
    s->count = runs;
    free_axes(&m);
    free(choice);
    if (!rc && !faults->count)
        return 0;
    sweep_free(s);
    return faults->count ? faults_to_error(faults, e) : -1;
}

// When the first is asked for: the base may have got another name since it was made.
static int open_combinations(struct sweep *s)
{
    if (s->combinations.count)
        return 0;
    return spec_sweep_open(&s->combinations, s->base, s->axes, s->axis_count, SWEEP_RUNS_MAX, NULL);
}

Islr__JobSpec *sweep_job(struct sweep *s, size_t i)
{
    if (!s->axis_count)
        return spec_vary(s->base, s->variations[i]->differs, NULL);
    return open_combinations(s) ? NULL : spec_copy(spec_sweep_job(&s->combinations, i));
}

char *sweep_label(struct sweep *s, size_t i)
{
    if (!s->axis_count)
        return xstrdup(s->variations[i]->label);
    return open_combinations(s) ? NULL : spec_sweep_label(&s->combinations, i);
}

int sweep_each(struct sweep *s, int (*each_job)(Islr__JobSpec *job, void *context), void *context)
{
    int rc = each_job(s->base, context);
    for (size_t i = 0; i < s->axis_count; i++)
        for (size_t k = 0; k < s->axes[i]->n_values && !rc; k++)
            rc = each_job(s->axes[i]->values[k], context);
    for (size_t i = 0; i < s->variation_count && !rc; i++)
        rc = each_job(s->variations[i]->differs, context);
    return rc;
}

void sweep_free(struct sweep *s)
{
    drop_axes(s);
    for (size_t i = 0; i < s->variation_count; i++)
        islr__variation__free_unpacked(s->variations[i], NULL);
    free(s->variations);
    spec_free(s->base);
    memset(s, 0, sizeof *s);
}

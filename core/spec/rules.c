// What fields of a job demand of each other: see check.h. Every job of a sweep comes through here, so a text is put
// together only where there is a fault.
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/spec/check.h"
#include "core/spec/spec.h"

enum { WIDTH_STEP = 16 }; // vectors and bf16 tiles: kernels/backend.h

void spec_widths(uint32_t t, const uint32_t *widths, size_t n_widths, uint32_t out[4])
{
    if (n_widths == 4) {
        memcpy(out, widths, 4 * sizeof *out);
        return;
    }
    uint32_t d0 = t <= 1024 ? 512 : 1024;
    uint32_t delta = t > 1024 ? (t - 1024) / 2 : t <= 512 ? 0 : t - 512 < 256 ? t - 512 : 256;
    uint32_t more = t >= 1024 ? delta : 0; // the large models grow twice
    out[0] = d0;
    out[1] = d0 + delta;
    out[2] = d0 + delta + more;
    out[3] = out[2] + more - delta;
}

// The sizes of one of the two models; `part` is "model" or "distill".
struct sizes {
    const char *part;
    uint32_t dense_dim, transfo_dim, heads;
    const uint32_t *widths;
    size_t n_widths, n_dropouts;
};

// A fault of the fields that `fields` names, each %s the part.
static void fault_sizes(const struct checker *c, const struct sizes *s, const char *fields, const char *allowed,
                        const char *problem)
{
    struct strbuf names = {0};
    for (const char *at = fields; *at; at++)
        if (*at == '%')
            strbuf_add(&names, s->part, strlen(s->part));
        else
            strbuf_add(&names, at, 1);
    check_fault(c, names.text, allowed, "%s", problem);
    free(names.text);
}

static void check_given_widths(const struct checker *c, const struct sizes *s)
{
    char fields[64], problem[96];
    for (int i = 0; i < 4; i++) {
        uint32_t w = s->widths[i];
        if (w % WIDTH_STEP) {
            snprintf(fields, sizeof fields, "%%.widths[%d]", i);
            snprintf(problem, sizeof problem, "%u is given", w);
            fault_sizes(c, s, fields, "a multiple of 16", problem);
        }
        // The last one is no encoder's hidden size: it only feeds the logits.
        if (i < 3 && s->heads && w % s->heads) {
            snprintf(fields, sizeof fields, "%%.widths[%d] model.heads", i);
            snprintf(problem, sizeof problem, "%u heads do not divide the width %u", s->heads, w);
            fault_sizes(c, s, fields, "a width that is a multiple of model.heads", problem);
        }
    }
}

static void check_derived_widths(const struct checker *c, const struct sizes *s)
{
    char problem[160];
    uint32_t w[4];
    if (s->transfo_dim < 512) {
        snprintf(problem, sizeof problem, "%u is given", s->transfo_dim);
        fault_sizes(c, s, "%.transfo_dim %.widths", "at least 512, or widths: [w0, w1, w2, w3] for smaller encoders",
                    problem);
        return;
    }
    spec_widths(s->transfo_dim, NULL, 0, w);
    if (w[1] % WIDTH_STEP || (s->transfo_dim > 1024 && s->transfo_dim % 2)) {
        snprintf(problem, sizeof problem, "%u gives encoders of the widths %u, %u, %u and %u", s->transfo_dim, w[0],
                 w[1], w[2], w[3]);
        fault_sizes(c, s, "%.transfo_dim %.widths",
                    "a size whose encoder widths are multiples of 16, or widths: [w0, w1, w2, w3]", problem);
        return;
    }
    for (int i = 0; i < 3; i++)
        if (s->heads && w[i] % s->heads) {
            snprintf(problem, sizeof problem, "%u heads do not divide the width %u that follows from %s.transfo_dim %u",
                     s->heads, w[i], s->part, s->transfo_dim);
            fault_sizes(c, s, "model.heads %.transfo_dim", "heads that divide every encoder's width", problem);
            return;
        }
}

static void check_sizes(const struct checker *c, const struct sizes *s)
{
    char problem[64];
    if (s->dense_dim % WIDTH_STEP) {
        snprintf(problem, sizeof problem, "%u is given", s->dense_dim);
        fault_sizes(c, s, "%.dense_dim", "a multiple of 16", problem);
    }
    if (s->n_dropouts != 3) {
        snprintf(problem, sizeof problem, "a list of %zu is given", s->n_dropouts);
        fault_sizes(c, s, "%.dropout_encoders", "three, one for each encoder", problem);
    }
    if (s->n_widths == 4) {
        check_given_widths(c, s);
    } else if (s->n_widths) {
        snprintf(problem, sizeof problem, "a list of %zu is given", s->n_widths);
        fault_sizes(c, s, "%.widths", "four widths, or none (they follow from transfo_dim then)", problem);
    } else {
        check_derived_widths(c, s);
    }
}

static void check_models(const struct checker *c, const Islr__JobSpec *job)
{
    const Islr__Model *m = job->model;
    const Islr__Distill *d = job->distill;
    const struct sizes student = {"model",   m->dense_dim, m->transfo_dim,       m->heads,
                                  m->widths, m->n_widths,  m->n_dropout_encoders};
    const struct sizes distilled = {"distill", d->dense_dim, d->transfo_dim,       m->heads,
                                    d->widths, d->n_widths,  d->n_dropout_encoders};
    check_sizes(c, &student);
    if (d->enabled)
        check_sizes(c, &distilled);
    else if (*job->init->distilled)
        check_fault(c, "init.distilled distill.enabled", "nothing, or distill.enabled: true",
                    "weights are given for a distilled model, but distillation is off");
}

// -3: neither a number nor one of the words.
static int parse_fold(const char *text)
{
    if (!strcmp(text, "all"))
        return SPEC_FOLD_ALL;
    if (!strcmp(text, "full"))
        return SPEC_FOLD_FULL;
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 4 || text[n] || (n > 1 && text[0] == '0'))
        return -3;
    return atoi(text);
}

int spec_fold(const Islr__JobSpec *job)
{
    return parse_fold(job->data->fold);
}

// Whether the job says how many folds there are; else its fold file does.
static bool counts_folds(const Islr__Data *d)
{
    return d->k || !*d->fold_file;
}

static void fault_fold(const struct checker *c, const Islr__Data *d, const char *fields, const char *problem)
{
    char allowed[96];
    if (counts_folds(d))
        snprintf(allowed, sizeof allowed, "0 to %u (data.k is %u), all, or full", d->k ? d->k - 1 : 0, d->k);
    else
        snprintf(allowed, sizeof allowed, "a fold's number, all, or full");
    check_fault(c, fields, allowed, "%s", problem);
}

static void check_folds(const struct checker *c, const Islr__JobSpec *job)
{
    const Islr__Data *d = job->data;
    int fold = parse_fold(d->fold);
    char problem[256];
    if (!d->k && !*d->fold_file) {
        check_fault(c, "data.k", "1 to 1000, or data.fold_file, which says how many there are", "0 folds are given");
        return;
    }
    if (fold == -3) {
        snprintf(problem, sizeof problem, "'%.200s' is given", d->fold);
        fault_fold(c, d, "data.fold", problem);
    } else if (fold >= 0 && counts_folds(d) && (uint32_t)fold >= d->k) {
        snprintf(problem, sizeof problem, "fold %d is given", fold);
        fault_fold(c, d, "data.fold data.k", problem);
    }
    if (fold != SPEC_FOLD_FULL && d->k == 1)
        check_fault(c, "data.k data.fold", "at least 2 folds, or fold: full",
                    "with one fold nothing is left to train on");
}

static void check_training(const struct checker *c, const Islr__JobSpec *job)
{
    const Islr__Train *t = job->train;
    const Islr__Resources *r = job->resources;
    if (t->group && t->batch % t->group)
        check_fault(c, "train.batch train.group", "a batch that is a multiple of train.group",
                    "a batch of %u is not a whole number of groups of %u", t->batch, t->group);
    if (t->ousm >= t->group)
        check_fault(c, "train.ousm train.group", "less than train.group",
                    "leaving out %u clips of a group of %u leaves none", t->ousm, t->group);
    if (t->n_betas != 2)
        check_fault(c, "train.betas", "two", "a list of %zu is given", t->n_betas);
    if (t->precision == ISLR__TRAIN__PRECISION__PRECISION_FP16 && r->device == ISLR__RESOURCES__DEVICE__DEVICE_CPU)
        check_fault(c, "train.precision resources.device", "auto | fp32 | bf16 on CPUs",
                    "fp16 needs a CUDA device, but resources.device is cpu");
    uint32_t groups = t->group ? t->batch / t->group : 0, wanted = r->ranks ? r->ranks : r->min_ranks;
    if (t->group && t->batch % t->group == 0 && wanted > groups)
        check_fault(
            c, r->ranks ? "resources.ranks train.batch train.group" : "resources.min_ranks train.batch train.group",
            "at most one rank for each group of the batch", "%u ranks for %u group%s (batch %u, group %u)", wanted,
            groups, groups == 1 ? "" : "s", t->batch, t->group);
}

// With a min_ranks of its own (its default, 1, is none) a run takes any number from there on that shares the groups evenly.
static void check_elastic(const struct checker *c, const Islr__JobSpec *job)
{
    const Islr__Resources *r = job->resources;
    const Islr__Train *t = job->train;
    if (job->kind != ISLR__JOB_SPEC__KIND__KIND_TRAIN || r->min_ranks < 2 || r->min_ranks >= r->ranks)
        return;
    if (!t->group || t->batch % t->group || r->ranks > t->batch / t->group)
        return; // said elsewhere
    uint32_t groups = t->batch / t->group, n = r->min_ranks;
    while (n <= r->ranks && groups % n)
        n++;
    if (n > r->ranks)
        check_fault(c, "resources.min_ranks resources.ranks train.batch train.group",
                    "numbers between which one shares the groups evenly",
                    "no number of ranks from %u to %u shares %u groups evenly", r->min_ranks, r->ranks, groups);
}

static void check_resources(const struct checker *c, const Islr__JobSpec *job)
{
    const Islr__Resources *r = job->resources;
    check_elastic(c, job);
    if (r->ranks && r->min_ranks > r->ranks)
        check_fault(c, "resources.min_ranks resources.ranks", "at most resources.ranks", "%u of at most %u ranks",
                    r->min_ranks, r->ranks);
}

// Fields that a kind of job must have, and those that it has no use for.
static void check_kind(const struct checker *c, const Islr__JobSpec *job)
{
    bool trains = job->kind == ISLR__JOB_SPEC__KIND__KIND_TRAIN;
    bool prepares = job->kind == ISLR__JOB_SPEC__KIND__KIND_PREPARE;
    bool souping = job->kind == ISLR__JOB_SPEC__KIND__KIND_SOUP, greedy = !strcmp(job->method, "greedy");
    bool exports = job->kind == ISLR__JOB_SPEC__KIND__KIND_EXPORT;
    bool needs_data = souping ? greedy : true;
    const char *kind = spec_kind_name(job->kind);
    if (exports) {
        check_fault(c, "kind", "train | prepare | evaluate | soup", "this version has no jobs of kind export yet");
        return;
    }
    if (needs_data && !*job->data->path)
        check_fault(c, souping ? "data.path method" : "data.path",
                    "a directory in the competition's layout, or a prepared set", "a %s%s job needs data",
                    souping ? "greedy " : "", kind);
    if (!trains && !prepares && !job->n_models)
        check_fault(c, "models", "a list of checkpoints", "a %s job needs models", kind);
    if ((trains || prepares) && job->n_models)
        check_fault(c, "models kind", "nothing (kinds evaluate and soup take models)", "models are given to a %s job",
                    kind);
    if (*job->format)
        check_fault(c, "format kind", "nothing (kind export takes a format)", "a format is given to a %s job", kind);
    for (size_t i = 0; i < job->n_models; i++)
        if (!*job->models[i]) {
            char field[32];
            snprintf(field, sizeof field, "models[%zu]", i);
            check_fault(c, field, "a file, or RUN:what on a server", "an empty name is given");
        }
}

void check_rules(const struct checker *c, const Islr__JobSpec *job)
{
    bool kind_known = !c->origins || !origins_bad(c->origins, "kind");
    if (kind_known)
        check_kind(c, job);
    check_models(c, job);
    check_folds(c, job);
    check_resources(c, job);
    if (job->kind == ISLR__JOB_SPEC__KIND__KIND_TRAIN)
        check_training(c, job);
}

const char *spec_kind_name(Islr__JobSpec__Kind kind)
{
    static const char *const names[] = {"train", "prepare", "evaluate", "soup", "export"};
    return (unsigned)kind < sizeof names / sizeof *names ? names[kind] : "unknown";
}

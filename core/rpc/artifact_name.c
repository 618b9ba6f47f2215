// Which artifacts RUN:WHAT means: see artifact_name.h.
#include "core/rpc/artifact_name.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

static const struct {
    const char *what, *suffix;
} suffixes[] = {
    {"student", ".safetensors"},
    {"teacher", ".safetensors"},
    {"distilled", ".safetensors"},
    {"soup", ".safetensors"},
    {"predictions", ".npy"},
    {"summary", ".json"},
    {"evaluation", ".json"},
    {"job", ".yaml"},
    {"set", ".islr"},
};

static const char *suffix_of(const char *what)
{
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        if (!strcmp(suffixes[i].what, what))
            return suffixes[i].suffix;
    return "";
}

static int is_model(const char *what)
{
    return !strcmp(suffix_of(what), ".safetensors");
}

// Names come from the server and become parts of paths.
static int check_name(const Islr__CheckpointInfo *c, struct error *e)
{
    const char *s = c->what ? c->what : "";
    int fine = islower((unsigned char)*s);
    for (; *s; s++)
        fine = fine && (islower((unsigned char)*s) || isdigit((unsigned char)*s) || strchr("._-", *s));
    return fine ? 0
                : error_set(e, ERR_DAMAGED, "the server's name of checkpoint %llu is not fit for a file",
                            (unsigned long long)c->id);
}

static int by_kind(const void *a, const void *b)
{
    const Islr__CheckpointInfo *x = **(Islr__CheckpointInfo *const *const *)a,
                               *y = **(Islr__CheckpointInfo *const *const *)b;
    if (x->epoch != y->epoch)
        return x->epoch < y->epoch ? -1 : 1;
    int order = strcmp(x->what ? x->what : "", y->what ? y->what : "");
    return order ? order : x->id < y->id ? -1 : x->id > y->id;
}

static int same_kind(const Islr__CheckpointInfo *x, const Islr__CheckpointInfo *y)
{
    return x->epoch == y->epoch && !strcmp(x->what ? x->what : "", y->what ? y->what : "");
}

char *artifact_newest(const Islr__CheckpointList *list)
{
    size_t count = list->n_checkpoints;
    char *newest = xcalloc(count + 1, 1);
    Islr__CheckpointInfo ***sorted = xmalloc((count + 1) * sizeof *sorted); // places in the list
    for (size_t i = 0; i < count; i++)
        sorted[i] = &list->checkpoints[i];
    qsort(sorted, count, sizeof *sorted, by_kind);
    for (size_t i = 0; i < count; i++)
        if (i + 1 == count || !same_kind(*sorted[i], *sorted[i + 1]))
            newest[sorted[i] - list->checkpoints] = 1;
    free(sorted);
    return newest;
}

static void add(struct artifact_choice *choice, const Islr__CheckpointInfo *c, char *path)
{
    choice->items = xrealloc(choice->items, choice->count + 1, sizeof *choice->items);
    choice->items[choice->count++] = (struct artifact_item){c, path};
}

static char *layout_path(const Islr__CheckpointInfo *c)
{
    if (c->epoch)
        return xprintf("checkpoints/epoch-%04u/%s%s", c->epoch, c->what, suffix_of(c->what));
    return xprintf("%s%s%s", is_model(c->what) ? "final/" : "", c->what, suffix_of(c->what));
}

static const Islr__Value *accuracy_of(const Islr__CheckpointInfo *c)
{
    for (size_t i = 0; i < c->n_metrics; i++)
        if (c->metrics[i]->name && !strncmp(c->metrics[i]->name, "accuracy", 8))
            return c->metrics[i];
    return NULL;
}

// Of the epochs' checkpoints of this model the one with the highest accuracy, the later one on a tie.
static const Islr__CheckpointInfo *best_of(const Islr__CheckpointList *list, const char *newest, const char *what)
{
    const Islr__CheckpointInfo *best = NULL;
    for (size_t i = 0; i < list->n_checkpoints; i++) {
        const Islr__CheckpointInfo *c = list->checkpoints[i];
        const Islr__Value *v = c->epoch && !strcmp(c->what, what) && newest[i] ? accuracy_of(c) : NULL;
        if (v && (!best || v->value > accuracy_of(best)->value ||
                  (v->value == accuracy_of(best)->value && c->epoch >= best->epoch)))
            best = c;
    }
    return best;
}

// The distilled model is what a run is for; one that does not distill is judged by its student.
static void choose_best(const Islr__CheckpointList *list, const char *newest, struct artifact_choice *choice)
{
    const Islr__CheckpointInfo *best = best_of(list, newest, "distilled");
    if (!best)
        best = best_of(list, newest, "student");
    if (best)
        add(choice, best, xprintf("%s-epoch-%04u%s", best->what, best->epoch, suffix_of(best->what)));
}

static int fail_none(const Islr__CheckpointList *list, const char *newest, uint64_t run, const char *what,
                     struct error *e)
{
    struct strbuf there = {0};
    for (size_t i = 0; i < list->n_checkpoints && there.length < sizeof e->text; i++) {
        const Islr__CheckpointInfo *c = list->checkpoints[i];
        if (!newest[i])
            continue;
        if (c->epoch)
            strbuf_printf(&there, "%sepoch-%u (%s)", there.length ? ", " : "", c->epoch, c->what);
        else
            strbuf_printf(&there, "%s%s", there.length ? ", " : "", c->what);
    }
    error_set(e, ERR_NOT_FOUND, "run %llu has no '%s'; there %s%s", (unsigned long long)run, what,
              there.length ? "is: " : "is nothing yet", there.length ? there.text : "");
    free(there.text);
    return -1;
}

int artifact_may_mean(const char *what, const char *kind, uint32_t epoch)
{
    unsigned wanted = 0;
    char rest;
    if (!strcmp(what, "best"))
        return epoch && (!strcmp(kind, "distilled") || !strcmp(kind, "student"));
    if (!strcmp(what, "all"))
        return strcmp(kind, "resume") != 0;
    if (sscanf(what, "epoch-%u%c", &wanted, &rest) == 1 && wanted)
        return epoch == wanted;
    return !epoch && !strcmp(kind, what);
}

// The name under which one of several is kept, or the one.
static char *path_of(const Islr__CheckpointInfo *c, const char *what)
{
    return c->epoch || !strcmp(what, "all") ? layout_path(c) : xprintf("%s%s", c->what, suffix_of(c->what));
}

int artifact_choose(const Islr__CheckpointList *list, uint64_t run, const char *what, struct artifact_choice *choice,
                    struct error *e)
{
    int best = !strcmp(what, "best");
    for (size_t i = 0; i < list->n_checkpoints; i++)
        if (check_name(list->checkpoints[i], e))
            return -1;
    char *newest = artifact_newest(list);
    if (best)
        choose_best(list, newest, choice);
    for (size_t i = 0; i < list->n_checkpoints && !best; i++) {
        const Islr__CheckpointInfo *c = list->checkpoints[i];
        if (newest[i] && artifact_may_mean(what, c->what, c->epoch))
            add(choice, c, path_of(c, what));
    }
    int rc = choice->count ? 0 : fail_none(list, newest, run, what, e);
    free(newest);
    return rc;
}

void artifact_choice_free(struct artifact_choice *choice)
{
    for (size_t i = 0; i < choice->count; i++)
        free(choice->items[i].path);
    free(choice->items);
    choice->items = NULL;
    choice->count = 0;
}

// Plans of preparations: see prepare_plan.h.
#include "core/data/prepare_plan.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/memory.h"
#include "core/data/folds.h"
#include "core/data/set_format.h"

static struct hash make_key(const struct prepare_plan *p, const struct hash *fold_hash)
{
    const struct recordings *r = p->recordings;
    char options[200];
    // .2: until then, clips were left out also because they could not be read at that time.
    int n =
        snprintf(options, sizeof options, "islr set %d.2, max_len %d, k %d, fold_seed %llu, folds %s\n", SET_VERSION,
                 p->o.max_len, p->o.k, (unsigned long long)p->o.fold_seed, p->o.fold_file ? "given" : "computed");
    struct hasher *h = hasher_create();
    hasher_update(h, options, (size_t)n);
    hasher_update(h, r->csv_hash.bytes, sizeof r->csv_hash.bytes);
    hasher_update(h, r->signs_hash.bytes, sizeof r->signs_hash.bytes);
    hasher_update(h, fold_hash->bytes, sizeof fold_hash->bytes);
    for (size_t i = 0; i < r->count; i++) {
        int64_t stamp[2] = {r->clips[i].bytes, r->clips[i].modified};
        hasher_update(h, stamp, sizeof stamp);
    }
    return hasher_finish(h);
}

struct prepare_plan *prepare_plan_open(const char *directory, const struct prepare_options *o, struct error *e)
{
    if (o->max_len < 1 || o->max_len > SET_MAX_LEN) {
        error_set(e, ERR_INVALID, "max_len is %d; 1..%d are possible", o->max_len, (int)SET_MAX_LEN);
        return NULL;
    }
    struct prepare_plan *p = xcalloc(1, sizeof *p);
    struct hash fold_hash = {{0}};
    p->o = *o;
    if (p->o.fold_file && !*p->o.fold_file)
        p->o.fold_file = NULL;
    p->recordings = recordings_read(directory, o->threads, e);
    if (!p->recordings) {
        prepare_plan_close(p);
        return NULL;
    }
    const struct recordings *r = p->recordings;
    p->folds = xcalloc(r->count, sizeof *p->folds);
    int rc;
    if (p->o.fold_file)
        rc = folds_read(r->clips, r->count, p->o.fold_file, &p->o.k, p->folds, &fold_hash, e);
    else
        rc = folds_compute(r->clips, r->count, r->sign_count, p->o.k, p->o.fold_seed, p->folds, e);
    if (rc && p->o.any_folds && !p->o.fold_file) {
        p->o.k = 0;
        rc = folds_compute(r->clips, r->count, r->sign_count, 0, 0, p->folds, e);
    }
    if (rc) {
        prepare_plan_close(p);
        return NULL;
    }
    if (p->o.k < 2)
        p->o.k = 0;
    if (!p->o.k || p->o.fold_file)
        p->o.fold_seed = 0;
    p->key = make_key(p, &fold_hash);
    return p;
}

void prepare_plan_close(struct prepare_plan *p)
{
    if (!p)
        return;
    recordings_free(p->recordings);
    free(p->folds);
    free(p);
}

// The first row of part `part`: that at which `part` shares of all bytes have gone by.
static size_t part_start(const struct prepare_plan *p, int part, int parts)
{
    const int64_t opening = 65536; // what a file costs besides its bytes
    const struct recordings *r = p->recordings;
    double total = 0, before = 0;
    for (size_t i = 0; i < r->count; i++)
        total += (double)(r->clips[i].bytes + opening);
    size_t i = 0;
    while (i < r->count && before < total * part / parts)
        before += (double)(r->clips[i++].bytes + opening);
    return part == parts ? r->count : i;
}

void prepare_plan_part(const struct prepare_plan *p, int part, int parts, size_t *first, size_t *count)
{
    *first = part_start(p, part, parts);
    *count = part_start(p, part + 1, parts) - *first;
}

struct set_description prepare_plan_describe(const struct prepare_plan *p, size_t first_row)
{
    return (struct set_description){.max_len = p->o.max_len,
                                    .sign_count = p->recordings->sign_count,
                                    .fold_count = p->o.k,
                                    .fold_seed = p->o.fold_seed,
                                    .folds_given = p->o.fold_file != NULL,
                                    .signs = p->recordings->signs,
                                    .source_key = p->key,
                                    .first_row = first_row};
}

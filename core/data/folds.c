// Folds: see folds.h. scikit-learn's StratifiedGroupKFold is in sklearn/model_selection/_split.py.
#include "core/data/folds.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/random.h"
#include "core/data/csv.h"

struct group { // a participant
    int64_t participant;
    uint32_t rank;    // in the shuffled order
    double variation; // standard deviation of its counts between signs
    double clips;
    double *counts; // [signs]
    int fold;
};

struct split {
    int k, signs;
    double *totals; // [signs], of all clips
    double *counts; // [k, signs], of those placed so far
    double *clips;  // [k]
};

static int compare_participants(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static int compare_groups(const void *a, const void *b)
{
    const struct group *x = a, *y = b;
    if (x->variation != y->variation)
        return x->variation > y->variation ? -1 : 1;
    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

static struct group *find_group(struct group *groups, size_t count, int64_t participant)
{
    return bsearch(&participant, groups, count, sizeof *groups, compare_participants); // its first member is the key
}

// One group for each participant, in ascending order of the ids, with the counts filled in.
static struct group *count_groups(const struct recording *clips, size_t count, struct split *s, size_t *group_count)
{
    int64_t *ids = xcalloc(count, sizeof *ids);
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        ids[i] = clips[i].participant;
    qsort(ids, count, sizeof *ids, compare_participants);
    for (size_t i = 0; i < count; i++)
        if (!i || ids[i] != ids[i - 1])
            ids[n++] = ids[i];
    struct group *groups = xcalloc(n, sizeof *groups);
    double *counts = xcalloc(n * (size_t)s->signs, sizeof *counts);
    for (size_t g = 0; g < n; g++)
        groups[g] = (struct group){.participant = ids[g], .counts = counts + g * (size_t)s->signs};
    free(ids);
    for (size_t i = 0; i < count; i++) {
        struct group *g = find_group(groups, n, clips[i].participant);
        g->counts[clips[i].label]++;
        g->clips++;
        s->totals[clips[i].label]++;
    }
    *group_count = n;
    return groups;
}

static double standard_deviation(const double *v, size_t n, size_t stride)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += v[i * stride];
    for (size_t i = 0; i < n; i++)
        squares += (v[i * stride] - sum / (double)n) * (v[i * stride] - sum / (double)n);
    return sqrt(squares / (double)n);
}

// How unevenly the signs lie over the folds: the mean over the signs of the deviation between folds of their share.
static double unevenness(const struct split *s)
{
    double sum = 0;
    int present = 0;
    for (int c = 0; c < s->signs; c++) {
        if (s->totals[c] == 0)
            continue;
        present++;
        sum += standard_deviation(s->counts + c, (size_t)s->k, (size_t)s->signs) / s->totals[c];
    }
    return sum / present;
}

static void add_group(struct split *s, int fold, const struct group *g, double times)
{
    for (int c = 0; c < s->signs; c++)
        s->counts[(size_t)fold * (size_t)s->signs + (size_t)c] += times * g->counts[c];
    s->clips[fold] += times * g->clips;
}

static int best_fold(struct split *s, const struct group *g)
{
    int best = -1;
    double least = INFINITY;
    for (int fold = 0; fold < s->k; fold++) {
        add_group(s, fold, g, 1);
        double uneven = unevenness(s);
        add_group(s, fold, g, -1);
        int even = best >= 0 && fabs(uneven - least) <= 1e-8 + 1e-5 * least; // numpy.isclose
        if (best < 0 || (even ? s->clips[fold] < s->clips[best] : uneven < least)) {
            best = fold;
            least = uneven;
        }
    }
    return best;
}

static void place_groups(struct split *s, struct group *groups, size_t count, uint64_t seed)
{
    struct rng r = rng_make(seed, RNG_FOLDS, 0, 0, 0);
    uint32_t *order = xcalloc(count > FOLDS_MAX ? count : FOLDS_MAX, sizeof *order);
    for (size_t g = 0; g < count; g++)
        order[g] = (uint32_t)g;
    rng_shuffle(&r, order, count);
    for (size_t g = 0; g < count; g++) {
        groups[g].rank = order[g];
        groups[g].variation = standard_deviation(groups[g].counts, (size_t)s->signs, 1);
    }
    qsort(groups, count, sizeof *groups, compare_groups);
    for (int fold = 0; fold < s->k; fold++)
        order[fold] = (uint32_t)fold;
    rng_shuffle(&r, order, (size_t)s->k);
    for (size_t g = 0; g < count; g++) {
        int fold = best_fold(s, &groups[g]);
        add_group(s, fold, &groups[g], 1);
        groups[g].fold = (int)order[fold];
    }
    free(order);
    qsort(groups, count, sizeof *groups, compare_participants);
}

int folds_compute(const struct recording *clips, size_t count, int sign_count, int k, uint64_t seed, int *folds,
                  struct error *e)
{
    if (k > FOLDS_MAX)
        return error_set(e, ERR_INVALID, "%d folds: at most %d are possible", k, (int)FOLDS_MAX);
    if (k < 2) {
        for (size_t i = 0; i < count; i++)
            folds[i] = -1;
        return 0;
    }
    struct split s = {k, sign_count, xcalloc((size_t)sign_count, sizeof(double)),
                      xcalloc((size_t)k * (size_t)sign_count, sizeof(double)), xcalloc((size_t)k, sizeof(double))};
    size_t group_count;
    struct group *groups = count_groups(clips, count, &s, &group_count);
    double *counts = groups[0].counts;
    int rc = 0;
    if (group_count < (size_t)k) {
        rc = error_set(e, ERR_INVALID,
                       "%d folds need at least %d participants, since none may be in two; there %s only %zu", k, k,
                       group_count == 1 ? "is" : "are", group_count);
    } else {
        place_groups(&s, groups, group_count, seed);
        for (size_t i = 0; i < count; i++)
            folds[i] = find_group(groups, group_count, clips[i].participant)->fold;
    }
    free(counts);
    free(groups);
    free(s.totals);
    free(s.counts);
    free(s.clips);
    return rc;
}

struct given { // a row of a fold file
    int64_t participant, sequence, fold;
    int line;
};

static int compare_given(const void *a, const void *b)
{
    const struct given *x = a, *y = b;
    if (x->participant != y->participant)
        return x->participant < y->participant ? -1 : 1;
    return x->sequence < y->sequence ? -1 : x->sequence > y->sequence;
}

// Reads all rows, sorted by clip, and the largest fold.
static int read_given(const char *path, struct given **rows, size_t *count, int64_t *largest, struct hash *hash,
                      struct error *e)
{
    static const char *const columns[] = {"participant_id", "sequence_id", "fold"};
    struct csv csv;
    int at[3], rc;
    if (csv_open(&csv, path, path, e))
        return -1;
    *hash = csv.hash;
    size_t capacity = 0;
    rc = csv_columns(&csv, 3, columns, at, e);
    while (!rc && (rc = csv_next(&csv, e)) > 0) {
        rc = 0;
        if (*count == capacity) {
            capacity = capacity ? 2 * capacity : 1024;
            *rows = xrealloc(*rows, capacity, sizeof **rows);
        }
        struct given *g = &(*rows)[(*count)++];
        g->line = csv.line;
        int64_t *values[] = {&g->participant, &g->sequence, &g->fold};
        for (int i = 0; !rc && i < 3; i++)
            if (csv_integer(csv.field[at[i]], values[i]))
                rc = error_set(e, ERR_INVALID, "%s, line %d: %s \"%s\" is not an integer", path, csv.line, columns[i],
                               csv.field[at[i]]);
        if (!rc && (g->fold < 0 || g->fold >= FOLDS_MAX))
            rc = error_set(e, ERR_INVALID, "%s, line %d: fold %lld is outside 0..%d", path, csv.line,
                           (long long)g->fold, FOLDS_MAX - 1);
        if (!rc && g->fold > *largest)
            *largest = g->fold;
    }
    csv_close(&csv);
    if (rc)
        return rc;
    if (*largest < 1)
        return error_set(e, ERR_INVALID, "%s names fewer than two folds", path);
    qsort(*rows, *count, sizeof **rows, compare_given);
    for (size_t i = 1; i < *count; i++) {
        const struct given *a = &(*rows)[i - 1], *b = &(*rows)[i];
        if (!compare_given(a, b))
            return error_set(e, ERR_INVALID, "%s, line %d: the clip %lld/%lld stands in line %d already", path,
                             a->line > b->line ? a->line : b->line, (long long)a->participant, (long long)a->sequence,
                             a->line < b->line ? a->line : b->line);
    }
    return 0;
}

static int apply_given(const struct given *rows, size_t row_count, const char *path, const struct recording *clips,
                       size_t count, int k, int *folds, struct error *e)
{
    size_t lacking = 0, first_lacking = 0;
    int used[FOLDS_MAX] = {0};
    for (size_t i = 0; i < count; i++) {
        struct given key = {.participant = clips[i].participant, .sequence = clips[i].sequence};
        const struct given *g = bsearch(&key, rows, row_count, sizeof *rows, compare_given);
        if (!g && !lacking++)
            first_lacking = i;
        if (!g)
            continue;
        if (g->fold >= k)
            return error_set(e, ERR_INVALID, "%s, line %d: fold %lld is outside 0..%d (%d folds are wanted)", path,
                             g->line, (long long)g->fold, k - 1, k);
        folds[i] = (int)g->fold;
        used[g->fold] = 1;
    }
    if (lacking)
        return error_set(e, ERR_INVALID, "%s lacks %zu of the %zu clips, the first: %lld/%lld (line %d of train.csv)",
                         path, lacking, count, (long long)clips[first_lacking].participant,
                         (long long)clips[first_lacking].sequence, clips[first_lacking].line);
    for (int fold = 0; fold < k; fold++)
        if (!used[fold])
            return error_set(e, ERR_INVALID, "%s: no clip is in fold %d (%d folds are wanted)", path, fold, k);
    return 0;
}

int folds_read(const struct recording *clips, size_t count, const char *path, int *k, int *folds, struct hash *hash,
               struct error *e)
{
    struct given *rows = NULL;
    size_t row_count = 0;
    int64_t largest = -1;
    int rc = *k > FOLDS_MAX ? error_set(e, ERR_INVALID, "%d folds: at most %d are possible", *k, (int)FOLDS_MAX)
                            : read_given(path, &rows, &row_count, &largest, hash, e);
    if (!rc && *k < 2)
        *k = (int)largest + 1;
    if (!rc)
        rc = apply_given(rows, row_count, path, clips, count, *k, folds, e);
    free(rows);
    return rc;
}

// Averages of checkpoints: see soup.h.
#include "core/train/soup.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

// A running sum; what is shared by the ingredients (signs, job) is taken from the first.
struct kettle {
    struct checkpoint first;
    const char *first_path;
    double *parameters, *buffers;
    size_t count;
};

static void add(double *sum, const float *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum[i] += v[i];
}

static void subtract(double *sum, const float *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum[i] -= v[i];
}

static int kettle_add(struct kettle *k, struct checkpoint *c, const char *path, struct error *e)
{
    if (!k->first_path) {
        k->first = *c;
        k->first_path = path;
        k->parameters = xcalloc(c->layout.size, sizeof *k->parameters);
        k->buffers = xcalloc(c->layout.buffer_size, sizeof *k->buffers);
        memset(c, 0, sizeof *c);
        c = &k->first;
    } else if (checkpoint_compatible(&k->first, c, k->first_path, path, e)) {
        return -1;
    }
    add(k->parameters, c->parameters, k->first.layout.size);
    add(k->buffers, c->buffers, k->first.layout.buffer_size);
    k->count++;
    return 0;
}

static void kettle_mean(const struct kettle *k, float *parameters, float *buffers)
{
    for (size_t i = 0; i < k->first.layout.size; i++)
        parameters[i] = (float)(k->parameters[i] / (double)k->count);
    for (size_t i = 0; i < k->first.layout.buffer_size; i++)
        buffers[i] = (float)(k->buffers[i] / (double)k->count);
}

// The mean takes the first ingredient's place.
static void kettle_serve(struct kettle *k, struct checkpoint *out)
{
    kettle_mean(k, k->first.parameters, k->first.buffers);
    free(k->first.origin);
    k->first.origin = NULL;
    *out = k->first;
    memset(&k->first, 0, sizeof k->first);
}

static void kettle_destroy(struct kettle *k)
{
    checkpoint_destroy(&k->first);
    free(k->parameters);
    free(k->buffers);
}

int soup_uniform(struct checkpoint *out, const char *const *paths, size_t count, int heads, struct error *e)
{
    struct kettle k = {0};
    int rc = count ? 0 : error_set(e, ERR_INVALID, "a soup needs at least one checkpoint");
    for (size_t i = 0; i < count && !rc; i++) {
        struct checkpoint c;
        rc = checkpoint_read(&c, paths[i], heads, e);
        if (!rc) {
            rc = kettle_add(&k, &c, paths[i], e);
            checkpoint_destroy(&c);
        }
    }
    if (!rc)
        kettle_serve(&k, out);
    kettle_destroy(&k);
    return rc;
}

// Adds the file and takes it out again unless the mean is better with it.
static int try_ingredient(struct kettle *k, const char *path, int heads, const struct soup_judge *judge, double *best,
                          int *kept, struct error *e)
{
    struct checkpoint c, mean;
    if (checkpoint_read(&c, path, heads, e))
        return -1;
    int first = !k->first_path, rc = kettle_add(k, &c, path, e);
    double score;
    if (!rc) {
        checkpoint_create(&mean, &k->first.config);
        kettle_mean(k, mean.parameters, mean.buffers);
        rc = judge->score(judge->context, &mean, &score, e);
        checkpoint_destroy(&mean);
    }
    if (!rc) {
        *kept = first || score > *best;
        if (*kept) {
            *best = score;
        } else {
            subtract(k->parameters, c.parameters, k->first.layout.size);
            subtract(k->buffers, c.buffers, k->first.layout.buffer_size);
            k->count--;
        }
    }
    checkpoint_destroy(&c);
    return rc;
}

int soup_greedy(struct checkpoint *out, const char *const *paths, size_t count, int heads,
                const struct soup_judge *judge, int *kept, struct error *e)
{
    struct kettle k = {0};
    double best = 0;
    int rc = count ? 0 : error_set(e, ERR_INVALID, "a soup needs at least one checkpoint");
    for (size_t i = 0; i < count && !rc; i++)
        rc = try_ingredient(&k, paths[i], heads, judge, &best, &kept[i], e);
    if (!rc)
        kettle_serve(&k, out);
    kettle_destroy(&k);
    return rc;
}

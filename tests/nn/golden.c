// Golden files and comparisons with them: see golden.h.
#include "tests/nn/golden.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/nn/filler.h"

void golden_open(struct golden *g, const char *path)
{
    struct error e = {0};
    memset(g, 0, sizeof *g);
    if (safetensors_open(path, &g->file, &e)) {
        fprintf(stderr, "%s\n", e.text);
        exit(1);
    }
}

const float *golden_values(const struct golden *g, size_t *count, const char *format, ...)
{
    char name[256];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    const struct tensor *t = safetensors_find(&g->file, name);
    if (!t || t->type != TENSOR_F32)
        return NULL;
    *count = t->count;
    return t->data;
}

json_t *golden_json(const struct golden *g, const char *key)
{
    const char *text = safetensors_metadata(&g->file, key);
    json_t *root = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    if (!root) {
        fprintf(stderr, "golden file without %s\n", key);
        exit(1);
    }
    return root;
}

struct model_config golden_config(const struct golden *g, const char *key)
{
    json_t *root = golden_json(g, key);
    struct model_config c = {.dense_dim = (int)json_integer_value(json_object_get(root, "dense_dim")),
                             .heads = (int)json_integer_value(json_object_get(root, "heads")),
                             .max_len = (int)json_integer_value(json_object_get(root, "max_len")),
                             .classes = (int)json_integer_value(json_object_get(root, "classes"))};
    for (int i = 0; i <= ENCODERS; i++)
        c.widths[i] = (int)json_integer_value(json_array_get(json_object_get(root, "widths"), (size_t)i));
    json_decref(root);
    return c;
}

static void check(struct golden *g, const char *what, double error, double tolerance)
{
    g->checks++;
    if (error <= tolerance)
        return;
    g->failures++;
    printf("FAILED %s: relative error %.3g, allowed %.3g\n", what, error, tolerance);
}

void golden_check(struct golden *g, const char *what, const float *got, const float *want, size_t n, double tolerance)
{
    double difference = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        difference += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        norm += (double)want[i] * want[i];
    }
    check(g, what, difference == 0 ? 0 : sqrt(difference / norm), tolerance);
}

void golden_check_value(struct golden *g, const char *what, double got, double want, double tolerance)
{
    check(g, what, got == want ? 0 : fabs(got - want) / fabs(want), tolerance);
}

void golden_check_summary(struct golden *g, const char *what, const char *name, const float *got, size_t n,
                          const float *summary, double tolerance)
{
    double mine[41], projections = 0, samples = 0;
    int count = filler_summary(name, got, n, mine);
    for (int k = 1; k < 9; k++)
        projections += (mine[k] - summary[k]) * (mine[k] - summary[k]) / 8;
    for (int k = 9; k < count; k++)
        samples += (mine[k] - summary[k]) * (mine[k] - summary[k]);
    double worst = fmax(fabs(mine[0] - summary[0]), fmax(sqrt(projections), sqrt(samples)));
    check(g, what, worst == 0 ? 0 : worst / summary[0], tolerance);
}

int golden_finish(struct golden *g)
{
    printf("%d checks, %d failed\n", g->checks, g->failures);
    safetensors_close(&g->file);
    return g->failures || !g->checks ? 1 : 0;
}

// The collapsed embedding stage is the uncollapsed one: taps and biases applied in double against the reference, the
// way back of their gradients likewise, for clips of every length that matters. And the reference against finite
// differences.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/random.h"
#include "kernels/cpu/collapse.h"
#include "tests/kernels/embed_reference.h"
#include "tests/kernels/harness.h"

enum { E = EMBED_DIM, CLIPS = 3 };
static const int frame_counts[] = {1, 2, 3, 4, 5, 6, 7, 9, 13};

// A reference with input and output gradients; `memory` holds what the reference does not own.
struct problem {
    struct embed_reference r;
    int32_t *length;
    double *memory;
};

static struct problem problem_make(int frames)
{
    struct problem p = {.r = embed_reference_make(CLIPS, frames, 3)};
    size_t rows = (size_t)(CLIPS * frames);
    size_t x = rows * LANDMARKS * 3, full = rows * LANDMARKS * E, count = x + full;
    for (int i = 0; i < EMBED_PARTS; i++)
        count += rows * (size_t)embed_part_points[i] * E;
    struct rng rng = rng_make(4, RNG_BENCH, 3, (uint32_t)frames, 0);
    p.memory = xcalloc(count, sizeof *p.memory);
    for (size_t i = 0; i < count; i++)
        p.memory[i] = rng_normal(&rng);
    const int32_t length[CLIPS] = {frames, (frames + 1) / 2, 0};
    p.length = xmalloc(sizeof length);
    memcpy(p.length, length, sizeof length);
    p.r.length = p.length;
    for (int b = 0; b < CLIPS; b++)
        memset(p.memory + (b * frames + length[b]) * LANDMARKS * 3, 0,
               sizeof(double) * (size_t)((frames - length[b]) * LANDMARKS * 3));
    p.r.x = p.memory;
    p.r.dfull = p.memory + x;
    const double *next = p.r.dfull + full;
    for (int i = 0; i < EMBED_PARTS; i++) {
        p.r.dpart[i] = next;
        next += rows * (size_t)embed_part_points[i] * E;
    }
    return p;
}

static void problem_free(struct problem *p)
{
    embed_reference_free(&p->r);
    free(p->memory);
    free(p->length);
}

// The reference's parameters as collapse.h takes them; each tensor malloc'ed.
static struct embed_parameters parameters_make(const struct embed_reference *r)
{
    struct embed_parameters p;
    for (int t = 0; t < EMBED_TENSORS; t++) {
        float *v = *embed_parameter(&p, t) = xcalloc((size_t)embed_tensor_size(t), sizeof *v);
        for (int i = 0; i < embed_tensor_size(t); i++)
            v[i] = (float)r->value[t][i];
    }
    return p;
}

static void parameters_free(struct embed_parameters *p)
{
    for (int t = 0; t < EMBED_TENSORS; t++)
        free(*embed_parameter(p, t));
}

static int class_of(int f, int frames)
{
    for (int c = 0;; c++)
        if (f >= class_frames(c, frames).first && f < class_frames(c, frames).end)
            return c;
}

// Calls visit for every (row, landmark, tap, coordinate) whose x lies in the clip: x's place, and those of the tap's
// and of the landmark's E values.
static void for_all_taps(const struct embed_reference *r, int row, int landmark, void *context,
                         void (*visit)(void *context, double x, int tap))
{
    int f = row % r->frames;
    for (int t = 0; t < EMBED_TAPS; t++) {
        int from = f + t - TAPS_REACH;
        for (int c = 0; c < 3 && from >= 0 && from < r->frames; c++)
            visit(context, r->x[((row - f + from) * LANDMARKS + landmark) * 3 + c],
                  ((class_of(f, r->frames) * EMBED_TAPS + t) * 3 + c) * E);
    }
}

struct sums {
    double *taps, *bias, *point; // point: the features or their gradient
};

static void add_feature(void *context, double x, int tap)
{
    struct sums *s = context;
    for (int e = 0; e < E; e++)
        s->point[e] += s->taps[tap + e] * x;
}

static void add_gradient(void *context, double x, int tap)
{
    struct sums *s = context;
    for (int e = 0; e < E; e++)
        s->taps[tap + e] += s->point[e] * x;
}

static int landmark_id(const struct embed_reference *r, int row, int landmark)
{
    return row % r->frames < r->length[row / r->frames] ? landmark + 1 : 0;
}

static void test_forward(void **state)
{
    (void)state;
    double *taps = xcalloc(COLLAPSED_TAPS + COLLAPSED_BIASES, sizeof *taps), *bias = taps + COLLAPSED_TAPS;
    for (size_t i = 0; i < sizeof frame_counts / sizeof *frame_counts; i++) {
        struct problem p = problem_make(frame_counts[i]);
        struct embed_parameters parameters = parameters_make(&p.r);
        int rows = CLIPS * p.r.frames;
        double *features = xcalloc((size_t)(rows * LANDMARKS * E), sizeof *features);
        collapse_forward(&parameters, p.r.frames, taps, bias);
        for (int row = 0; row < rows; row++)
            for (int l = 0; l < LANDMARKS; l++) {
                struct sums s = {taps, bias, features + (row * LANDMARKS + l) * E};
                memcpy(s.point, bias + landmark_id(&p.r, row, l) * E, E * sizeof(double));
                for_all_taps(&p.r, row, l, &s, add_feature);
            }
        embed_reference_forward(&p.r);
        values_check("features", features, p.r.full, rows, LANDMARKS * E, 1e-13);
        free(features);
        parameters_free(&parameters);
        problem_free(&p);
    }
    free(taps);
}

static void test_backward(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof frame_counts / sizeof *frame_counts; i++) {
        struct problem p = problem_make(frame_counts[i]);
        struct embed_parameters parameters = parameters_make(&p.r), gradients = parameters_make(&p.r);
        int rows = CLIPS * p.r.frames;
        double *dfeatures = xcalloc((size_t)(rows * LANDMARKS * E), sizeof *dfeatures);
        double *taps = xcalloc(COLLAPSED_TAPS + COLLAPSED_BIASES, sizeof *taps), *bias = taps + COLLAPSED_TAPS;
        embed_reference_uncentre(&p.r, dfeatures);
        for (int row = 0; row < rows; row++)
            for (int l = 0; l < LANDMARKS; l++) {
                struct sums s = {taps, bias, dfeatures + (row * LANDMARKS + l) * E};
                for (int e = 0; e < E; e++)
                    bias[landmark_id(&p.r, row, l) * E + e] += s.point[e];
                for_all_taps(&p.r, row, l, &s, add_gradient);
            }
        collapse_backward(&parameters, p.r.frames, taps, bias, &gradients);
        embed_reference_backward(&p.r);
        for (int t = 0; t < EMBED_TENSORS; t++) {
            double got[LANDMARKS * E + E];
            for (int k = 0; k < embed_tensor_size(t); k++)
                got[k] = (double)(*embed_parameter(&gradients, t))[k];
            values_check(embed_tensors[t].name, got, p.r.gradient[t], embed_tensors[t].rows, embed_tensors[t].columns,
                         1e-7); // the gradients are written as floats
        }
        free(taps);
        free(dfeatures);
        parameters_free(&parameters);
        parameters_free(&gradients);
        problem_free(&p);
    }
}

// The sum of all outputs, each times its gradient.
static double weighted_outputs(void *context)
{
    struct embed_reference *r = context;
    double sum = 0;
    embed_reference_forward(r);
    for (int i = 0; i < r->clips * r->frames * LANDMARKS * E; i++)
        sum += r->full[i] * r->dfull[i];
    for (int p = 0; p < EMBED_PARTS; p++)
        for (int i = 0; i < r->clips * r->frames * embed_part_points[p] * E; i++)
            sum += r->part[p][i] * r->dpart[p][i];
    return sum;
}

static void test_reference(void **state)
{
    (void)state;
    struct problem p = problem_make(6);
    double numeric[LANDMARKS * E + E], analytic[LANDMARKS * E + E];
    embed_reference_backward(&p.r);
    for (int t = 0; t < EMBED_TENSORS; t++) {
        size_t size = (size_t)embed_tensor_size(t), every = size / 12 + 1, n = 0;
        size_t first = size > E && embed_tensors[t].columns == E ? E : 0; // row 0 of an embedding is not trained
        finite_difference(weighted_outputs, &p.r, p.r.value[t], size, first, every, numeric);
        for (size_t i = first; i < size; i += every) {
            numeric[n] = numeric[i];
            analytic[n++] = p.r.gradient[t][i];
        }
        values_check(embed_tensors[t].name, analytic, numeric, 1, (int)n, 1e-7);
    }
    problem_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_backward),
    };
    return cmocka_run_group_tests_name("collapse", tests, NULL, NULL);
}

// The embedding stage in double, layer by layer: see embed_reference.h.
#include "tests/kernels/embed_reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/random.h"

enum { E = EMBED_DIM };

enum tensor {
    TYPE_EMBED,
    TYPE_NORM_WEIGHT,
    TYPE_NORM_BIAS,
    LANDMARK_EMBED,
    LANDMARK_NORM_WEIGHT,
    LANDMARK_NORM_BIAS,
    CONV0,
    CONV1,
    POS_DENSE_WEIGHT,
    POS_DENSE_BIAS,
    DENSE_WEIGHT,
    DENSE_BIAS
};

const struct embed_tensor embed_tensors[EMBED_TENSORS] = {
    {"type_embed.weight", 9, 16},       {"type_norm.weight", 1, 16},     {"type_norm.bias", 1, 16},
    {"landmark_embed.weight", 101, 16}, {"landmark_norm.weight", 1, 16}, {"landmark_norm.bias", 1, 16},
    {"pos_cnn.0.weight", 8, 15},        {"pos_cnn.1.weight", 16, 40},    {"pos_dense.weight", 16, 19},
    {"pos_dense.bias", 1, 16},          {"dense.weight", 16, 48},        {"dense.bias", 1, 16},
};

float **embed_parameter(struct embed_parameters *p, int tensor)
{
    float **fields[EMBED_TENSORS] = {
        &p->type_embed,           &p->type_norm_weight,   &p->type_norm_bias, &p->landmark_embed,
        &p->landmark_norm_weight, &p->landmark_norm_bias, &p->conv0,          &p->conv1,
        &p->pos_dense_weight,     &p->pos_dense_bias,     &p->dense_weight,   &p->dense_bias};
    return fields[tensor];
}

const int embed_part_points[EMBED_PARTS] = {21, 21, 21, 25};

int embed_part_landmark(int part, int point)
{
    const int first[EMBED_PARTS] = {0, 21, 60, 42};
    return part == 3 && point >= 18 ? 93 + point - 18 : first[part] + point;
}

struct embed_reference embed_reference_make(int clips, int frames, unsigned seed)
{
    struct embed_reference r = {.clips = clips, .frames = frames};
    size_t points = (size_t)clips * (size_t)frames;
    for (int t = 0; t < EMBED_TENSORS; t++) {
        struct rng rng = rng_make(seed, RNG_BENCH, 2, (uint32_t)t, 0);
        r.value[t] = xcalloc((size_t)embed_tensor_size(t), sizeof(double));
        r.gradient[t] = xcalloc((size_t)embed_tensor_size(t), sizeof(double));
        int padding = t == TYPE_EMBED || t == LANDMARK_EMBED ? E : 0; // their row 0 is zero
        for (int i = padding; i < embed_tensor_size(t); i++)
            r.value[t][i] = (double)(float)(0.5 * rng_normal(&rng));
    }
    r.full = xcalloc(points * LANDMARKS * E, sizeof(double));
    for (int p = 0; p < EMBED_PARTS; p++)
        r.part[p] = xcalloc(points * (size_t)embed_part_points[p] * E, sizeof(double));
    return r;
}

void embed_reference_free(struct embed_reference *r)
{
    for (int t = 0; t < EMBED_TENSORS; t++) {
        free(r->value[t]);
        free(r->gradient[t]);
    }
    for (int p = 0; p < EMBED_PARTS; p++)
        free(r->part[p]);
    free(r->full);
}

// ---- layers -------------------------------------------------------------------------------------------------------

// Conv1d with kernel 5, padding 2, no bias: x [frames, in] -> y [frames, out], weight [out, in, 5].
static void convolve(const double *x, const double *weight, int frames, int in, int out, double *y)
{
    memset(y, 0, sizeof *y * (size_t)(frames * out));
    for (int f = 0; f < frames; f++)
        for (int o = 0; o < out; o++)
            for (int i = 0; i < in; i++)
                for (int k = 0; k < 5; k++)
                    if (f + k - 2 >= 0 && f + k - 2 < frames)
                        y[f * out + o] += weight[(o * in + i) * 5 + k] * x[(f + k - 2) * in + i];
}

// Adds to dweight; dx may be NULL.
static void convolve_backward(const double *x, const double *weight, int frames, int in, int out, const double *dy,
                              double *dx, double *dweight)
{
    if (dx)
        memset(dx, 0, sizeof *dx * (size_t)(frames * in));
    for (int f = 0; f < frames; f++)
        for (int o = 0; o < out; o++)
            for (int i = 0; i < in; i++)
                for (int k = 0; k < 5; k++) {
                    int from = f + k - 2;
                    if (from < 0 || from >= frames)
                        continue;
                    dweight[(o * in + i) * 5 + k] += dy[f * out + o] * x[from * in + i];
                    if (dx)
                        dx[from * in + i] += dy[f * out + o] * weight[(o * in + i) * 5 + k];
                }
}

static void dense(const double *x, const double *weight, const double *bias, int in, int out, double *y)
{
    for (int o = 0; o < out; o++) {
        y[o] = bias[o];
        for (int i = 0; i < in; i++)
            y[o] += weight[o * in + i] * x[i];
    }
}

static void dense_backward(const double *x, const double *weight, int in, int out, const double *dy, double *dx,
                           double *dweight, double *dbias)
{
    memset(dx, 0, sizeof *dx * (size_t)in);
    for (int o = 0; o < out; o++) {
        dbias[o] += dy[o];
        for (int i = 0; i < in; i++) {
            dx[i] += dy[o] * weight[o * in + i];
            dweight[o * in + i] += dy[o] * x[i];
        }
    }
}

// LayerNorm over E values, eps 1e-5; `x_hat` (may be NULL) is the normalised row; returns 1/deviation.
static double norm(const double *x, const double *weight, const double *bias, double *y, double *x_hat)
{
    double mean = 0, var = 0;
    for (int i = 0; i < E; i++)
        mean += x[i] / E;
    for (int i = 0; i < E; i++)
        var += (x[i] - mean) * (x[i] - mean) / E;
    double rstd = 1 / sqrt(var + 1e-5);
    for (int i = 0; i < E; i++) {
        double hat = (x[i] - mean) * rstd;
        if (x_hat)
            x_hat[i] = hat;
        if (y)
            y[i] = weight[i] * hat + bias[i];
    }
    return rstd;
}

static void norm_backward(const double *x, const double *weight, const double *dy, double *dx, double *dweight,
                          double *dbias)
{
    double hat[E], rstd = norm(x, NULL, NULL, NULL, hat), mean = 0, product = 0;
    for (int i = 0; i < E; i++) {
        dweight[i] += dy[i] * hat[i];
        dbias[i] += dy[i];
        mean += weight[i] * dy[i] / E;
        product += weight[i] * dy[i] * hat[i] / E;
    }
    for (int i = 0; i < E; i++)
        dx[i] += rstd * (weight[i] * dy[i] - mean - hat[i] * product);
}

// ---- the stage ----------------------------------------------------------------------------------------------------

// One landmark of one clip through the stage, with what the layers pass on.
struct track {
    double *x, *u, *v; // [frames, 3], [frames, 8], [frames, 16]
};

static struct track track_make(const struct embed_reference *r, int clip, int landmark)
{
    size_t frames = (size_t)r->frames;
    struct track t = {xcalloc(frames * 27, sizeof(double))};
    t.u = t.x + frames * 3;
    t.v = t.u + frames * 8;
    for (int f = 0; f < r->frames; f++)
        for (int c = 0; c < 3; c++)
            t.x[f * 3 + c] = r->x[((clip * r->frames + f) * LANDMARKS + landmark) * 3 + c];
    convolve(t.x, r->value[CONV0], r->frames, 3, 8, t.u);
    convolve(t.u, r->value[CONV1], r->frames, 8, 16, t.v);
    return t;
}

// What pos_dense and dense take in, frame f of a track: [19] and [48]. Padding frames have the ids 0.
static void gather(const struct embed_reference *r, const struct track *t, int f, int landmark, int real,
                   double position_in[19], double dense_in[3 * E])
{
    memcpy(position_in, t->x + f * 3, 3 * sizeof(double));
    memcpy(position_in + 3, t->v + f * 16, 16 * sizeof(double));
    int type = real ? landmark_type(landmark) : 0, id = real ? landmark + 1 : 0;
    norm(r->value[TYPE_EMBED] + type * E, r->value[TYPE_NORM_WEIGHT], r->value[TYPE_NORM_BIAS], dense_in, NULL);
    norm(r->value[LANDMARK_EMBED] + id * E, r->value[LANDMARK_NORM_WEIGHT], r->value[LANDMARK_NORM_BIAS], dense_in + E,
         NULL);
    dense(position_in, r->value[POS_DENSE_WEIGHT], r->value[POS_DENSE_BIAS], 19, E, dense_in + 2 * E);
}

static void centre_clip(struct embed_reference *r, int clip, int part)
{
    int points = embed_part_points[part], length = r->length[clip];
    double mean[E] = {0};
    for (int f = 0; f < length; f++)
        for (int i = 0; i < points * E; i++) {
            int from = embed_part_landmark(part, i / E) * E + i % E;
            mean[i % E] += r->full[(clip * r->frames + f) * LANDMARKS * E + from] / (points * length);
        }
    for (int f = 0; f < r->frames; f++)
        for (int i = 0; i < points * E; i++) {
            int from = embed_part_landmark(part, i / E) * E + i % E;
            r->part[part][(clip * r->frames + f) * points * E + i] =
                f < length ? r->full[(clip * r->frames + f) * LANDMARKS * E + from] - mean[i % E] : 0;
        }
}

void embed_reference_forward(struct embed_reference *r)
{
    for (int b = 0; b < r->clips; b++) {
        for (int l = 0; l < LANDMARKS; l++) {
            struct track t = track_make(r, b, l);
            for (int f = 0; f < r->frames; f++) {
                double position_in[19], dense_in[3 * E];
                gather(r, &t, f, l, f < r->length[b], position_in, dense_in);
                dense(dense_in, r->value[DENSE_WEIGHT], r->value[DENSE_BIAS], 3 * E, E,
                      r->full + ((b * r->frames + f) * LANDMARKS + l) * E);
            }
            free(t.x);
        }
        for (int p = 0; p < EMBED_PARTS; p++)
            centre_clip(r, b, p);
    }
}

void embed_reference_uncentre(const struct embed_reference *r, double *dfeatures)
{
    memcpy(dfeatures, r->dfull, sizeof(double) * (size_t)(r->clips * r->frames * LANDMARKS * E));
    for (int b = 0; b < r->clips; b++)
        for (int p = 0; p < EMBED_PARTS; p++) {
            int points = embed_part_points[p], length = r->length[b];
            double mean[E] = {0};
            for (int f = 0; f < length; f++)
                for (int i = 0; i < points * E; i++)
                    mean[i % E] += r->dpart[p][(b * r->frames + f) * points * E + i] / (points * length);
            for (int f = 0; f < length; f++)
                for (int i = 0; i < points * E; i++)
                    dfeatures[(b * r->frames + f) * LANDMARKS * E + embed_part_landmark(p, i / E) * E + i % E] +=
                        r->dpart[p][(b * r->frames + f) * points * E + i] - mean[i % E];
        }
}

// Frame f of a track: adds to the gradients, and gives those of x and v.
static void frame_backward(struct embed_reference *r, const struct track *t, int f, int landmark, int real,
                           const double *dy, double *dv)
{
    double position_in[19], dense_in[3 * E], dposition_in[19], ddense_in[3 * E];
    double **g = r->gradient;
    gather(r, t, f, landmark, real, position_in, dense_in);
    dense_backward(dense_in, r->value[DENSE_WEIGHT], 3 * E, E, dy, ddense_in, g[DENSE_WEIGHT], g[DENSE_BIAS]);
    dense_backward(position_in, r->value[POS_DENSE_WEIGHT], 19, E, ddense_in + 2 * E, dposition_in, g[POS_DENSE_WEIGHT],
                   g[POS_DENSE_BIAS]);
    memcpy(dv, dposition_in + 3, 16 * sizeof *dv);
    int type = real ? landmark_type(landmark) : 0, id = real ? landmark + 1 : 0;
    norm_backward(r->value[TYPE_EMBED] + type * E, r->value[TYPE_NORM_WEIGHT], ddense_in, g[TYPE_EMBED] + type * E,
                  g[TYPE_NORM_WEIGHT], g[TYPE_NORM_BIAS]);
    norm_backward(r->value[LANDMARK_EMBED] + id * E, r->value[LANDMARK_NORM_WEIGHT], ddense_in + E,
                  g[LANDMARK_EMBED] + id * E, g[LANDMARK_NORM_WEIGHT], g[LANDMARK_NORM_BIAS]);
}

void embed_reference_backward(struct embed_reference *r)
{
    size_t frames = (size_t)r->frames;
    double *dfeatures = xcalloc((size_t)r->clips * frames * LANDMARKS * E, sizeof *dfeatures);
    double *dv = xcalloc(frames * 24, sizeof *dv), *du = dv + frames * 16;
    embed_reference_uncentre(r, dfeatures);
    for (int t = 0; t < EMBED_TENSORS; t++)
        memset(r->gradient[t], 0, sizeof(double) * (size_t)embed_tensor_size(t));
    for (int b = 0; b < r->clips; b++)
        for (int l = 0; l < LANDMARKS; l++) {
            struct track t = track_make(r, b, l);
            for (int f = 0; f < r->frames; f++)
                frame_backward(r, &t, f, l, f < r->length[b], dfeatures + ((b * r->frames + f) * LANDMARKS + l) * E,
                               dv + f * 16);
            convolve_backward(t.u, r->value[CONV1], r->frames, 8, 16, dv, du, r->gradient[CONV1]);
            convolve_backward(t.x, r->value[CONV0], r->frames, 3, 8, du, NULL, r->gradient[CONV0]);
            free(t.x);
        }
    memset(r->gradient[TYPE_EMBED], 0, E * sizeof(double)); // padding_idx: row 0 is not trained
    memset(r->gradient[LANDMARK_EMBED], 0, E * sizeof(double));
    free(dv);
    free(dfeatures);
}

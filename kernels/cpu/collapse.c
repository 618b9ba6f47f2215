// The embedding stage collapsed, and back: see collapse.h.
//
// With P, T, M the columns of dense that meet position, type and landmark, and R, V the columns of pos_dense that meet
// xyz and the second convolution's channels:
//   taps[t][c][e]  = [t = 4] (P R)[e][c] + sum over j + k = t of sum over m of b[e][m][j] conv0[m][c][k]
//   b[e][m][j]     = sum over o of (P V)[e][o] conv1[o][m][j]
//   bias[l][e]     = T norm(type_embed[type(l)]) + M norm(landmark_embed[l]) + P pos_dense_bias + dense_bias
// j is the second convolution's tap: for frame f it reads frame f + j - 2 of the first one's output, which is zero
// outside the clip, so that only some j count at the clip's ends.
#include "kernels/cpu/collapse.h"

#include <math.h>
#include <string.h>

enum { MIDDLE = 8, KERNEL = 5, POS_COLUMNS = 3 + 16, E = EMBED_DIM };
static const double NORM_EPS = 1e-5; // of type_norm and landmark_norm

// Products that taps are made of, and their gradients.
struct products {
    double direct[E][3];         // P R
    double mixed[E][16];         // P V
    double b[E][MIDDLE][KERNEL]; // see above
};

static float *conv0_at(const struct embed_parameters *p, int m, int c, int k)
{
    return p->conv0 + (m * 3 + c) * KERNEL + k;
}

static float *conv1_at(const struct embed_parameters *p, int o, int m, int j)
{
    return p->conv1 + (o * MIDDLE + m) * KERNEL + j;
}

// Columns of dense: 0.. type, E.. landmark, 2E.. position.
static float *dense_at(const struct embed_parameters *p, int e, int column)
{
    return p->dense_weight + e * 3 * E + column;
}

static void multiply(const struct embed_parameters *p, struct products *x)
{
    memset(x, 0, sizeof *x);
    for (int e = 0; e < E; e++) {
        for (int i = 0; i < E; i++) {
            double w = (double)*dense_at(p, e, 2 * E + i);
            for (int c = 0; c < 3; c++)
                x->direct[e][c] += w * (double)p->pos_dense_weight[i * POS_COLUMNS + c];
            for (int o = 0; o < 16; o++)
                x->mixed[e][o] += w * (double)p->pos_dense_weight[i * POS_COLUMNS + 3 + o];
        }
        for (int o = 0; o < 16; o++)
            for (int m = 0; m < MIDDLE; m++)
                for (int j = 0; j < KERNEL; j++)
                    x->b[e][m][j] += x->mixed[e][o] * (double)*conv1_at(p, o, m, j);
    }
}

// The second convolution's taps that lie within the clip for the first frame of a class: [first, end).
static struct frame_range valid_taps(int frame_class, int frames)
{
    int f = class_frames(frame_class, frames).first, first = 2 - f, end = frames + 2 - f;
    return (struct frame_range){first > 0 ? first : 0, end < KERNEL ? end : KERNEL};
}

static int is_empty(int frame_class, int frames)
{
    struct frame_range r = class_frames(frame_class, frames);
    return r.first == r.end;
}

static int tap_index(int frame_class, int tap, int coordinate)
{
    return ((frame_class * EMBED_TAPS + tap) * 3 + coordinate) * E;
}

static void collapse_class(const struct embed_parameters *p, const struct products *x, int frame_class, int frames,
                           double taps[COLLAPSED_TAPS])
{
    struct frame_range valid = valid_taps(frame_class, frames);
    for (int c = 0; c < 3; c++)
        for (int e = 0; e < E; e++) {
            taps[tap_index(frame_class, TAPS_REACH, c) + e] += x->direct[e][c];
            for (int j = valid.first; j < valid.end; j++)
                for (int k = 0; k < KERNEL; k++)
                    for (int m = 0; m < MIDDLE; m++)
                        taps[tap_index(frame_class, j + k, c) + e] += x->b[e][m][j] * (double)*conv0_at(p, m, c, k);
        }
}

// ---- the norms of the two embeddings ------------------------------------------------------------------------------

// LayerNorm of one row: y = weight*x + bias with x the normalised row, which is kept.
struct normed {
    double x[E], y[E], rstd;
};

static void norm_row(const float *row, const float *weight, const float *bias, struct normed *n)
{
    double mean = 0, square = 0;
    for (int i = 0; i < E; i++)
        mean += (double)row[i] / E;
    for (int i = 0; i < E; i++)
        square += pow((double)row[i] - mean, 2) / E;
    n->rstd = 1 / sqrt(square + NORM_EPS);
    for (int i = 0; i < E; i++) {
        n->x[i] = ((double)row[i] - mean) * n->rstd;
        n->y[i] = (double)weight[i] * n->x[i] + (double)bias[i];
    }
}

static void norm_row_backward(const struct normed *n, const float *weight, const double dy[E], double drow[E],
                              double dweight[E], double dbias[E])
{
    double mean = 0, product = 0;
    for (int i = 0; i < E; i++) {
        dweight[i] += dy[i] * n->x[i];
        dbias[i] += dy[i];
        mean += dy[i] * (double)weight[i] / E;
        product += dy[i] * (double)weight[i] * n->x[i] / E;
    }
    for (int i = 0; i < E; i++)
        drow[i] = n->rstd * (dy[i] * (double)weight[i] - mean - n->x[i] * product);
}

static void norm_type(const struct embed_parameters *p, int type, struct normed *n)
{
    norm_row(p->type_embed + type * E, p->type_norm_weight, p->type_norm_bias, n);
}

static void norm_landmark(const struct embed_parameters *p, int id, struct normed *n)
{
    norm_row(p->landmark_embed + id * E, p->landmark_norm_weight, p->landmark_norm_bias, n);
}

// Id 0 is padding, landmark l has id l + 1.
static int type_of_id(int id)
{
    return id ? landmark_type(id - 1) : TYPE_PADDING;
}

static void collapse_biases(const struct embed_parameters *p, double *bias)
{
    struct normed types[LANDMARK_TYPES], landmark;
    for (int t = 0; t < LANDMARK_TYPES; t++)
        norm_type(p, t, &types[t]);
    for (int id = 0; id <= LANDMARKS; id++) {
        norm_landmark(p, id, &landmark);
        for (int e = 0; e < E; e++) {
            double sum = (double)p->dense_bias[e];
            for (int i = 0; i < E; i++)
                sum += (double)*dense_at(p, e, i) * types[type_of_id(id)].y[i] +
                       (double)*dense_at(p, e, E + i) * landmark.y[i] +
                       (double)*dense_at(p, e, 2 * E + i) * (double)p->pos_dense_bias[i];
            bias[id * E + e] = sum;
        }
    }
}

void collapse_forward(const struct embed_parameters *p, int frames, double *taps, double *bias)
{
    struct products x;
    multiply(p, &x);
    memset(taps, 0, COLLAPSED_TAPS * sizeof *taps);
    for (int frame_class = 0; frame_class < EMBED_CLASSES; frame_class++)
        if (!is_empty(frame_class, frames))
            collapse_class(p, &x, frame_class, frames, taps);
    collapse_biases(p, bias);
}

// ---- back ---------------------------------------------------------------------------------------------------------

static void to_float(const double *x, int count, float *y)
{
    for (int i = 0; i < count; i++)
        y[i] = (float)x[i];
}

// From dtaps: the gradients of conv0, and of the products.
static void taps_backward(const struct embed_parameters *p, const struct products *x, int frames, const double *dtaps,
                          struct products *dx, float *dconv0)
{
    double conv0[MIDDLE * 3 * KERNEL] = {0};
    for (int frame_class = 0; frame_class < EMBED_CLASSES; frame_class++) {
        struct frame_range valid = valid_taps(frame_class, frames);
        for (int c = 0; c < 3 && !is_empty(frame_class, frames); c++)
            for (int e = 0; e < E; e++) {
                dx->direct[e][c] += dtaps[tap_index(frame_class, TAPS_REACH, c) + e];
                for (int j = valid.first; j < valid.end; j++)
                    for (int k = 0; k < KERNEL; k++) {
                        double d = dtaps[tap_index(frame_class, j + k, c) + e];
                        for (int m = 0; m < MIDDLE; m++) {
                            dx->b[e][m][j] += d * (double)*conv0_at(p, m, c, k);
                            conv0[(m * 3 + c) * KERNEL + k] += d * x->b[e][m][j];
                        }
                    }
            }
    }
    to_float(conv0, MIDDLE * 3 * KERNEL, dconv0);
}

static void conv1_backward(const struct embed_parameters *p, const struct products *x, struct products *dx,
                           float *dconv1)
{
    for (int o = 0; o < 16; o++)
        for (int m = 0; m < MIDDLE; m++)
            for (int j = 0; j < KERNEL; j++) {
                double d = 0;
                for (int e = 0; e < E; e++) {
                    d += x->mixed[e][o] * dx->b[e][m][j];
                    dx->mixed[e][o] += dx->b[e][m][j] * (double)*conv1_at(p, o, m, j);
                }
                dconv1[(o * MIDDLE + m) * KERNEL + j] = (float)d;
            }
}

// Gradients of pos_dense and of the position columns of dense; `total` is the sum of all biases' gradients.
static void position_backward(const struct embed_parameters *p, const struct products *dx, const double total[E],
                              const struct embed_parameters *g)
{
    for (int i = 0; i < E; i++) {
        double dcolumn[POS_COLUMNS] = {0}, dbias = 0;
        for (int e = 0; e < E; e++) {
            const float *row = p->pos_dense_weight + i * POS_COLUMNS;
            double w = (double)*dense_at(p, e, 2 * E + i), dw = total[e] * (double)p->pos_dense_bias[i];
            dbias += w * total[e];
            for (int c = 0; c < POS_COLUMNS; c++) {
                double d = c < 3 ? dx->direct[e][c] : dx->mixed[e][c - 3];
                dcolumn[c] += w * d;
                dw += d * (double)row[c];
            }
            *dense_at(g, e, 2 * E + i) = (float)dw;
        }
        to_float(dcolumn, POS_COLUMNS, g->pos_dense_weight + i * POS_COLUMNS);
        g->pos_dense_bias[i] = (float)dbias;
    }
}

// One embedding: `rows` of it, sums[r] the gradients of the biases that row r is in, `column` where dense meets it.
static void embedding_backward(const struct embed_parameters *p, int rows, double (*sums)[E], int column,
                               void (*norm)(const struct embed_parameters *p, int row, struct normed *n),
                               const float *weight, const struct embed_parameters *g, float *dembed, float *dweight,
                               float *dbias)
{
    double ddense[E][E] = {0}, norm_weight[E] = {0}, norm_bias[E] = {0};
    for (int r = 0; r < rows; r++) {
        struct normed n;
        double dy[E] = {0}, drow[E];
        norm(p, r, &n);
        for (int e = 0; e < E; e++)
            for (int i = 0; i < E; i++) {
                ddense[e][i] += sums[r][e] * n.y[i];
                dy[i] += sums[r][e] * (double)*dense_at(p, e, column + i);
            }
        norm_row_backward(&n, weight, dy, drow, norm_weight, norm_bias);
        if (r == 0)
            memset(drow, 0, sizeof drow); // padding stays zero
        to_float(drow, E, dembed + r * E);
    }
    for (int e = 0; e < E; e++)
        to_float(ddense[e], E, dense_at(g, e, column));
    to_float(norm_weight, E, dweight);
    to_float(norm_bias, E, dbias);
}

void collapse_backward(const struct embed_parameters *p, int frames, const double *dtaps, const double *dbias,
                       const struct embed_parameters *g)
{
    struct products x, dx = {0};
    multiply(p, &x);
    taps_backward(p, &x, frames, dtaps, &dx, g->conv0);
    conv1_backward(p, &x, &dx, g->conv1);

    double total[E] = {0}, types[LANDMARK_TYPES][E] = {0}, landmarks[LANDMARKS + 1][E];
    memcpy(landmarks, dbias, sizeof landmarks);
    for (int id = 0; id <= LANDMARKS; id++)
        for (int e = 0; e < E; e++) {
            total[e] += landmarks[id][e];
            types[type_of_id(id)][e] += landmarks[id][e];
        }
    to_float(total, E, g->dense_bias);
    position_backward(p, &dx, total, g);
    embedding_backward(p, LANDMARK_TYPES, types, 0, norm_type, p->type_norm_weight, g, g->type_embed,
                       g->type_norm_weight, g->type_norm_bias);
    embedding_backward(p, LANDMARKS + 1, landmarks, E, norm_landmark, p->landmark_norm_weight, g, g->landmark_embed,
                       g->landmark_norm_weight, g->landmark_norm_bias);
}

// The embedding stage as one convolution over time: backend.h, struct embed_forward and embed_backward; the parameters'
// side of it is collapse.c. Compiled for each instruction set.
//
// A clip at a time. Its x is copied between zeros, so that every frame sees nine. The means that centring subtracts
// follow from sums of x over a group's points, as the stage is linear: so the features are written once and not read.
// In the same way the backward first adds up gradients as if nothing was centred, and corrects the sums.
#include <string.h>

#include <omp.h>

#include "kernels/cpu/collapse.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector.h"

enum {
    X_COLUMNS = LANDMARKS * 3,
    CHANNEL_VECTORS = EMBED_DIM / VLEN,
    PARTS = 4, // left, right, lips, face
    POINTS_AT_ONCE = VLEN == 16  ? 10
                     : VLEN == 8 ? 5
                                 : 2, // convolve(): sums that fit the registers
    TAPS_AT_ONCE = VLEN == 16  ? EMBED_TAPS
                   : VLEN == 8 ? 2
                               : 1 // accumulate_taps(): likewise, three sums each
};

struct channels {
    vf v[CHANNEL_VECTORS];
};

VEC_INLINE struct channels channels_load(const float *p)
{
    struct channels x;
    for (int i = 0; i < CHANNEL_VECTORS; i++)
        x.v[i] = vec_loadu(p + i * VLEN);
    return x;
}

VEC_INLINE void channels_store(float *p, struct channels x)
{
    for (int i = 0; i < CHANNEL_VECTORS; i++)
        vec_storeu(p + i * VLEN, x.v[i]);
}

// Landmarks that follow one another in the features and in one of the parts.
static const struct segment {
    int first, count;
    int part;  // -1: in none
    int point; // the first's place in the part
} segments[] = {
    {LANDMARK_LEFT_HAND, HAND_POINTS, 0, 0},
    {LANDMARK_RIGHT_HAND, HAND_POINTS, 1, 0},
    {LANDMARK_SILHOUETTE, SILHOUETTE_POINTS, 3, 0},
    {LANDMARK_LIPS, LIPS_POINTS, 2, 0},
    {LANDMARK_ARMS, LANDMARK_CHEEKS - LANDMARK_ARMS, -1, 0},
    {LANDMARK_CHEEKS, CHEEKS_POINTS, 3, SILHOUETTE_POINTS},
};
enum { SEGMENTS = sizeof segments / sizeof *segments };
static const int part_points[PARTS] = {HAND_POINTS, HAND_POINTS, LIPS_POINTS, FACE_POINTS};

// Class of frame f.
static int class_of(int f, int frames)
{
    int frame_class = 0;
    while (f >= class_frames(frame_class, frames).end)
        frame_class++;
    return frame_class;
}

// ---- a clip's input -----------------------------------------------------------------------------------------------

static size_t padded_size(int frames)
{
    size_t size = (size_t)(frames + 2 * TAPS_REACH) * X_COLUMNS * sizeof(float);
    return (size + 63) / 64 * 64;
}

// Frame f + t of the result is what tap t of frame f sees.
static void pad(const float *x, int frames, float *padded)
{
    size_t border = (size_t)TAPS_REACH * X_COLUMNS, size = (size_t)frames * X_COLUMNS;
    memset(padded, 0, border * sizeof *padded);
    memcpy(padded + border, x, size * sizeof *padded);
    memset(padded + border + size, 0, border * sizeof *padded);
}

// For each part, class and tap: x as that tap sees it, added up over the part's points and the class's real frames.
enum { CLASS_WINDOW = EMBED_TAPS * 3, CLASS_TAPS = CLASS_WINDOW * EMBED_DIM, WINDOW = EMBED_CLASSES * CLASS_WINDOW };
struct windows {
    double sum[PARTS][WINDOW]; // [part][class][tap][coordinate]
};

static void add_points(const float *row, double sum[PARTS][3])
{
    for (int s = 0; s < SEGMENTS; s++) {
        const struct segment *g = &segments[s];
        if (g->part < 0)
            continue;
        float x = 0, y = 0, z = 0;
        for (int l = g->first; l < g->first + g->count; l++) {
            x += row[l * 3];
            y += row[l * 3 + 1];
            z += row[l * 3 + 2];
        }
        sum[g->part][0] += (double)x;
        sum[g->part][1] += (double)y;
        sum[g->part][2] += (double)z;
    }
}

static void sum_windows(const float *padded, int frames, int length, struct windows *w)
{
    memset(w, 0, sizeof *w);
    for (int row = 0; row < length + 2 * TAPS_REACH; row++) {
        double points[PARTS][3] = {0};
        add_points(padded + (size_t)row * X_COLUMNS, points);
        for (int t = 0; t < EMBED_TAPS; t++) {
            int f = row - t;
            if (f < 0 || f >= length)
                continue;
            int frame_class = class_of(f, frames);
            for (int p = 0; p < PARTS; p++)
                for (int c = 0; c < 3; c++)
                    w->sum[p][frame_class * CLASS_WINDOW + t * 3 + c] += points[p][c];
        }
    }
}

// ---- forward ------------------------------------------------------------------------------------------------------

// Means of the parts' features over the points and the clip's real frames.
static void find_means(const float *taps, const float *bias, const struct windows *w, int length,
                       float mean[PARTS][EMBED_DIM])
{
    double sum[PARTS][EMBED_DIM] = {0};
    for (int s = 0; s < SEGMENTS; s++)
        for (int l = segments[s].first; l < segments[s].first + segments[s].count && segments[s].part >= 0; l++)
            for (int e = 0; e < EMBED_DIM; e++)
                sum[segments[s].part][e] += (double)bias[(l + 1) * EMBED_DIM + e] * length;
    for (int p = 0; p < PARTS; p++) {
        for (int i = 0; i < WINDOW; i++)
            for (int e = 0; e < EMBED_DIM; e++)
                sum[p][e] += (double)taps[i * EMBED_DIM + e] * w->sum[p][i];
        for (int e = 0; e < EMBED_DIM; e++)
            mean[p][e] = length > 0 ? (float)(sum[p][e] / (part_points[p] * length)) : 0;
    }
}

// The features of one frame [100,16]: x is the frame's first tap, taps [9][3][16] its class's, bias the first
// landmark's with bias_step (0 or 16) to the next.
static void convolve(const float *x, const float *taps, const float *bias, int bias_step, float *features)
{
    for (int l = 0; l < LANDMARKS; l += POINTS_AT_ONCE) {
        struct channels sum[POINTS_AT_ONCE];
        for (int i = 0; i < POINTS_AT_ONCE; i++)
            sum[i] = channels_load(bias + (l + i) * bias_step);
        for (int t = 0; t < EMBED_TAPS; t++)
            for (int c = 0; c < 3; c++) {
                struct channels tap = channels_load(taps + (t * 3 + c) * EMBED_DIM);
                for (int i = 0; i < POINTS_AT_ONCE; i++)
                    for (int k = 0; k < CHANNEL_VECTORS; k++)
                        sum[i].v[k] += tap.v[k] * x[t * X_COLUMNS + (l + i) * 3 + c];
            }
        for (int i = 0; i < POINTS_AT_ONCE; i++)
            channels_store(features + (l + i) * EMBED_DIM, sum[i]);
    }
}

// points * 16 features, less `mean` (NULL: nothing), to a row of `type`.
VEC_INLINE void write_points(const float *features, int points, const float *mean, void *row, enum dtype type)
{
    struct channels m = {0};
    if (mean)
        m = channels_load(mean);
    for (int i = 0; i < points * EMBED_DIM; i += EMBED_DIM)
        for (int k = 0; k < CHANNEL_VECTORS; k++)
            vec_store(row, type, i + k * VLEN, VLEN, vec_loadu(features + i + k * VLEN) - m.v[k]);
}

static void write_row(const float *features, int points, const float *mean, const struct mat *m, int row, int point)
{
    void *out = (char *)mat_row(m, row) + (size_t)(point * EMBED_DIM) * dtype_size(m->type);
    if (m->type == DTYPE_F32)
        write_points(features, points, mean, out, DTYPE_F32);
    else
        write_points(features, points, mean, out, DTYPE_BF16);
}

static void forward_clip(const struct embed_forward *a, int clip, float *padded)
{
    const struct mat *parts[PARTS] = {&a->left, &a->right, &a->lips, &a->face};
    const float *bias = a->collapsed + COLLAPSED_TAPS;
    int length = a->length[clip];
    struct windows w;
    float mean[PARTS][EMBED_DIM], features[LANDMARKS * EMBED_DIM];
    pad(a->x + (size_t)clip * (size_t)a->frames * X_COLUMNS, a->frames, padded);
    sum_windows(padded, a->frames, length, &w);
    find_means(a->collapsed, bias, &w, length, mean);
    for (int f = 0; f < a->frames; f++) {
        int real = f < length, row = clip * a->frames + f;
        const float *taps = a->collapsed + class_of(f, a->frames) * CLASS_TAPS;
        convolve(padded + (size_t)f * X_COLUMNS, taps, real ? bias + EMBED_DIM : bias, real ? EMBED_DIM : 0, features);
        write_row(features, LANDMARKS, NULL, &a->full, row, 0);
        for (int s = 0; s < SEGMENTS && real; s++) {
            const struct segment *g = &segments[s];
            if (g->part >= 0)
                write_row(features + g->first * EMBED_DIM, g->count, mean[g->part], parts[g->part], row, g->point);
        }
        for (int p = 0; p < PARTS && !real; p++)
            memset(mat_row(parts[p], row), 0, (size_t)(part_points[p] * EMBED_DIM) * dtype_size(parts[p]->type));
    }
}

static void collapse(const struct embed_forward *a)
{
    double collapsed[EMBED_COLLAPSED_SIZE];
    collapse_forward(&a->parameters, a->frames, collapsed, collapsed + COLLAPSED_TAPS);
    for (int i = 0; i < EMBED_COLLAPSED_SIZE; i++)
        a->collapsed[i] = (float)collapsed[i];
}

void CPU_NAME(embed_forward)(struct stream *s, const struct embed_forward *a)
{
    int threads = cpu_threads(s);
    size_t size = padded_size(a->frames);
    char *padded = cpu_scratch(s, (size_t)threads * size);
    collapse(a);
#pragma omp parallel for num_threads(threads)
    for (int b = 0; b < a->clips; b++)
        forward_clip(a, b, (float *)(padded + (size_t)omp_get_thread_num() * size));
}

// ---- backward -----------------------------------------------------------------------------------------------------

// Sums over the frames of some clips.
struct sums {
    double taps[COLLAPSED_TAPS];
    double bias[COLLAPSED_BIASES];
};

// Sums over the frames of one clip.
struct clip_sums {
    float bias[COLLAPSED_BIASES];
    float part[PARTS][EMBED_DIM]; // of the gradients of the centred features
};

// g [points,16] = the gradients of the features of some points, and of the same points of a part if there is one; added
// to bias (bias_step as in convolve()) and, the part's alone, to part_sum.
VEC_INLINE void read_points(const void *full, enum dtype type, const void *part, enum dtype part_type, int points,
                            float *g, float *bias, int bias_step, float *part_sum)
{
    struct channels sum = {0};
    for (int i = 0; i < points; i++)
        for (int k = 0; k < CHANNEL_VECTORS; k++) {
            int at = i * EMBED_DIM + k * VLEN;
            vf x = vec_load(full, type, at, VLEN);
            if (part) {
                vf y = vec_load(part, part_type, at, VLEN);
                sum.v[k] += y;
                x += y;
            }
            vec_storeu(g + at, x);
            float *b = bias + i * bias_step + k * VLEN;
            vec_storeu(b, vec_loadu(b) + x);
        }
    if (part)
        for (int k = 0; k < CHANNEL_VECTORS; k++)
            vec_storeu(part_sum + k * VLEN, vec_loadu(part_sum + k * VLEN) + sum.v[k]);
}

// The gradients of the features of one row, g [100,16]. Padding frames are in no part.
static void read_row(const struct embed_backward *a, int row, int real, float *g, struct clip_sums *clip)
{
    const struct mat *parts[PARTS] = {&a->dleft, &a->dright, &a->dlips, &a->dface};
    for (int s = 0; s < SEGMENTS; s++) {
        const struct segment *e = &segments[s];
        const struct mat *m = e->part >= 0 && real ? parts[e->part] : NULL;
        size_t size = dtype_size(a->dfull.type);
        const char *full = (char *)mat_row(&a->dfull, row) + (size_t)(e->first * EMBED_DIM) * size, *part = NULL;
        enum dtype type = a->dfull.type;
        if (m)
            part = (char *)mat_row(m, row) + (size_t)(e->point * EMBED_DIM) * dtype_size(m->type);
        float *bias = real ? clip->bias + (e->first + 1) * EMBED_DIM : clip->bias;
        float *out = g + e->first * EMBED_DIM, *part_sum = m ? clip->part[e->part] : NULL;
        if (type == DTYPE_F32 && (!m || m->type == DTYPE_F32))
            read_points(full, DTYPE_F32, part, DTYPE_F32, e->count, out, bias, real ? EMBED_DIM : 0, part_sum);
        else
            read_points(full, type, part, m ? m->type : type, e->count, out, bias, real ? EMBED_DIM : 0, part_sum);
    }
}

// Adds x (outer) g over the landmarks of a frame to the sums of `count` taps from `tap` on.
VEC_INLINE void accumulate_taps(const float *x, const float *g, int tap, int count, float *taps)
{
    struct channels sum[TAPS_AT_ONCE * 3] = {0};
    for (int l = 0; l < LANDMARKS; l++) {
        struct channels y = channels_load(g + l * EMBED_DIM);
        for (int t = 0; t < count; t++)
            for (int c = 0; c < 3; c++)
                for (int k = 0; k < CHANNEL_VECTORS; k++)
                    sum[t * 3 + c].v[k] += y.v[k] * x[(tap + t) * X_COLUMNS + l * 3 + c];
    }
    for (int i = 0; i < count * 3; i++)
        channels_store(taps + (tap * 3 + i) * EMBED_DIM, sum[i]);
}

static void accumulate_frame(const float *x, const float *g, double *sum)
{
    float taps[CLASS_TAPS];
    int t = 0;
    for (; t + TAPS_AT_ONCE <= EMBED_TAPS; t += TAPS_AT_ONCE)
        accumulate_taps(x, g, t, TAPS_AT_ONCE, taps);
    if (EMBED_TAPS % TAPS_AT_ONCE)
        accumulate_taps(x, g, t, EMBED_TAPS % TAPS_AT_ONCE, taps);
    for (int i = 0; i < CLASS_TAPS; i++)
        sum[i] += (double)taps[i];
}

// Centring gave each real frame and point of a part its gradient less the part's mean: takes that from the sums.
static void centre(const struct clip_sums *clip, const struct windows *w, int length, struct sums *sums)
{
    double mean[PARTS][EMBED_DIM];
    for (int p = 0; p < PARTS; p++)
        for (int e = 0; e < EMBED_DIM; e++)
            mean[p][e] = (double)clip->part[p][e] / (part_points[p] * length);
    for (int p = 0; p < PARTS; p++) {
        for (int i = 0; i < WINDOW; i++)
            for (int e = 0; e < EMBED_DIM; e++)
                sums->taps[i * EMBED_DIM + e] -= mean[p][e] * w->sum[p][i];
    }
    for (int s = 0; s < SEGMENTS; s++)
        for (int l = segments[s].first; l < segments[s].first + segments[s].count && segments[s].part >= 0; l++)
            for (int e = 0; e < EMBED_DIM; e++)
                sums->bias[(l + 1) * EMBED_DIM + e] -= length * mean[segments[s].part][e];
}

static void backward_clip(const struct embed_backward *a, int clip, float *padded, struct sums *sums)
{
    int length = a->length[clip];
    struct windows w;
    struct clip_sums own;
    memset(&own, 0, sizeof own);
    pad(a->x + (size_t)clip * (size_t)a->frames * X_COLUMNS, a->frames, padded);
    for (int f = 0; f < a->frames; f++) {
        float g[LANDMARKS * EMBED_DIM];
        read_row(a, clip * a->frames + f, f < length, g, &own);
        accumulate_frame(padded + (size_t)f * X_COLUMNS, g, sums->taps + class_of(f, a->frames) * CLASS_TAPS);
    }
    for (int i = 0; i < COLLAPSED_BIASES; i++)
        sums->bias[i] += (double)own.bias[i];
    if (length == 0)
        return;
    sum_windows(padded, a->frames, length, &w);
    centre(&own, &w, length, sums);
}

void CPU_NAME(embed_backward)(struct stream *s, const struct embed_backward *a)
{
    enum { MOST_CHUNKS = 32 };
    int threads = cpu_threads(s);
    struct chunks chunks = chunks_of(a->clips, MOST_CHUNKS, 1);
    size_t size = padded_size(a->frames);
    char *padded = cpu_scratch(s, (size_t)threads * size + (size_t)chunks.count * sizeof(struct sums));
    struct sums *partial = (struct sums *)(padded + (size_t)threads * size);
#pragma omp parallel for num_threads(threads)
    for (int chunk = 0; chunk < chunks.count; chunk++) {
        memset(&partial[chunk], 0, sizeof partial[chunk]);
        for (int b = chunk * chunks.size; b < chunk_end(chunks, chunk, a->clips); b++)
            backward_clip(a, b, (float *)(padded + (size_t)omp_get_thread_num() * size), &partial[chunk]);
    }
    for (int chunk = 1; chunk < chunks.count; chunk++) {
        for (int i = 0; i < COLLAPSED_TAPS; i++)
            partial[0].taps[i] += partial[chunk].taps[i];
        for (int i = 0; i < COLLAPSED_BIASES; i++)
            partial[0].bias[i] += partial[chunk].bias[i];
    }
    collapse_backward(&a->parameters, a->frames, partial[0].taps, partial[0].bias, &a->gradients);
}

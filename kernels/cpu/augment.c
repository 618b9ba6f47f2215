// Augmentation of views as their plans say, in the order of the reference's table (section 5): backend.h, struct
// augment. Compiled for each instruction set.
#include <math.h>
#include <omp.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

enum {
    COLUMNS = LANDMARKS * 3,
    FACE_FIRST = LANDMARK_SILHOUETTE, // silhouette and lips follow one another,
    FACE_RUN = LANDMARK_ARMS - LANDMARK_SILHOUETTE,
    WHOLE_FACE = FACE_RUN + CHEEKS_POINTS // then cheeks and averages: what face cutmix replaces
};

static const uint8_t mirror[LANDMARKS] = LANDMARK_MIRROR_TABLE;

// A clip being worked on: a copy, so that a step may read what it overwrites.
struct clip {
    float *x; // [frames, 100, 3]
    int frames;
};

static int face_landmark(int point)
{
    return point < FACE_RUN ? FACE_FIRST + point : LANDMARK_CHEEKS + point - FACE_RUN;
}

// ---- face cutmix --------------------------------------------------------------------------------------------------

// Smallest and largest value of each coordinate.
struct range {
    float low[3], high[3];
};
static const struct range no_range = {{INFINITY, INFINITY, INFINITY}, {-INFINITY, -INFINITY, -INFINITY}};

static void range_add(struct range *r, const float point[3])
{
    for (int c = 0; c < 3; c++) {
        r->low[c] = point[c] < r->low[c] ? point[c] : r->low[c];
        r->high[c] = point[c] > r->high[c] ? point[c] : r->high[c];
    }
}

// Frame f of the face of a clip of `from` frames, stretched to `to` frames: linear between samples at half pixels.
static void resize_frame(const float *x, int from, int f, int to, int flip, float *face)
{
    double at = fmin(fmax((f + 0.5) * from / to - 0.5, 0), from - 1);
    int low = (int)at, high = low + 1 < from ? low + 1 : from - 1;
    float share = (float)(at - low);
    for (int i = 0; i < WHOLE_FACE; i++) {
        int landmark = flip ? mirror[face_landmark(i)] : face_landmark(i);
        const float *a = x + low * COLUMNS + landmark * 3, *b = x + high * COLUMNS + landmark * 3;
        for (int c = 0; c < 3; c++)
            face[i * 3 + c] = a[c] * (1 - share) + b[c] * share;
        if (flip)
            face[i * 3] = -face[i * 3];
    }
}

// Scales that take the new face's extents to the old one's, and which coordinates are placed at all. Returns 0 if the
// face cannot be put in.
static int fit(const struct range *new, const struct range *old, uint32_t flags, float scale[3], int place[3])
{
    for (int c = 0; c < 3; c++) {
        float extent = new->high[c] - new->low[c];
        place[c] = extent > 0;
        if (!place[c] && (c < 2 || !(flags & AUGMENT_FACE_KEEP_FLAT_Z)))
            return 0;
        scale[c] = place[c] ? (old->high[c] - old->low[c]) / extent : 0;
    }
    return 1;
}

// Puts the face of `other` into the clip, moved and scaled to where the clip's own is. face: scratch for
// [frames, WHOLE_FACE, 3].
static void put_face(struct clip *clip, const float *other, int other_frames, uint32_t flags, float *face)
{
    struct range new = no_range, old = no_range;
    for (int f = 0; f < clip->frames; f++) {
        float *row = face + f * WHOLE_FACE * 3;
        resize_frame(other, other_frames, f, clip->frames, flags & AUGMENT_PARTNER_FLIP, row);
        for (int i = 0; i < WHOLE_FACE; i++) {
            range_add(&new, row + i * 3);
            range_add(&old, clip->x + f * COLUMNS + face_landmark(i) * 3);
        }
    }
    float scale[3];
    int place[3];
    if (!fit(&new, &old, flags, scale, place))
        return; // the clip keeps its face
    for (int f = 0; f < clip->frames; f++)
        for (int i = 0; i < WHOLE_FACE; i++)
            for (int c = 0; c < 3; c++)
                if (place[c])
                    clip->x[f * COLUMNS + face_landmark(i) * 3 + c] =
                        (face[(f * WHOLE_FACE + i) * 3 + c] - new.low[c]) * scale[c] + old.low[c];
}

// ---- one clip alone -----------------------------------------------------------------------------------------------

static int hand_missing(const float *frame, int first)
{
    for (int i = first; i < first + HAND_POINTS; i++)
        if (frame[i * 3] != 0)
            return 0;
    return 1;
}

// In frames with one hand, the other becomes its mirror image about the nose.
static void fill_hand(struct clip *clip)
{
    for (int f = 0; f < clip->frames; f++) {
        float *frame = clip->x + f * COLUMNS, nose = frame[LANDMARK_NOSE * 3];
        int left = hand_missing(frame, LANDMARK_LEFT_HAND), right = hand_missing(frame, LANDMARK_RIGHT_HAND);
        if (left == right || nose == 0)
            continue;
        float *to = frame + (left ? LANDMARK_LEFT_HAND : LANDMARK_RIGHT_HAND) * 3;
        const float *from = frame + (left ? LANDMARK_RIGHT_HAND : LANDMARK_LEFT_HAND) * 3;
        memcpy(to, from, HAND_POINTS * 3 * sizeof *to);
        for (int i = 0; i < HAND_POINTS; i++)
            to[i * 3] = 2 * nose - from[i * 3];
    }
}

// Missing values of one landmark's coordinate from the known ones before and behind; at least one is known.
static void interpolate_column(float *x, int frames)
{
    int before = -1, behind = 0;
    for (int f = 0; f < frames; f++) {
        if (x[f * COLUMNS] != 0) {
            before = f;
            continue;
        }
        if (behind <= f)
            for (behind = f + 1; behind < frames && x[behind * COLUMNS] == 0;)
                behind++;
        if (before < 0) {
            x[f * COLUMNS] = x[behind * COLUMNS];
        } else if (behind == frames) {
            x[f * COLUMNS] = x[before * COLUMNS];
        } else {
            float share = (float)(f - before) / (float)(behind - before);
            x[f * COLUMNS] = x[before * COLUMNS] + (x[behind * COLUMNS] - x[before * COLUMNS]) * share;
        }
    }
}

static void interpolate(struct clip *clip)
{
    int known[COLUMNS] = {0};
    for (int f = 0; f < clip->frames; f++)
        for (int i = 0; i < COLUMNS; i++)
            known[i] += clip->x[f * COLUMNS + i] != 0;
    for (int i = 0; i < COLUMNS; i++)
        if (known[i] >= 2 && known[i] < clip->frames)
            interpolate_column(clip->x + i, clip->frames);
}

// Flip, rotation and scale: landmark l of a frame becomes turn * (x,y) and depth * z of landmark source[l].
struct placement {
    uint8_t source[LANDMARKS];
    float turn[2][2], depth;
};

static struct placement place(const struct augment_plan *p)
{
    int flip = (p->flags & AUGMENT_FLIP) != 0;
    float side = flip ? -1 : 1;
    struct placement out = {.turn = {{side * p->cosine * p->factor[0], -p->sine * p->factor[0]},
                                     {side * p->sine * p->factor[1], p->cosine * p->factor[1]}},
                            .depth = p->factor[2]};
    for (int l = 0; l < LANDMARKS; l++)
        out.source[l] = flip ? mirror[l] : (uint8_t)l;
    return out;
}

static void place_frame(const struct placement *p, const float *x, float *out)
{
    for (int l = 0; l < LANDMARKS; l++) {
        const float *from = x + p->source[l] * 3;
        out[l * 3] = p->turn[0][0] * from[0] + p->turn[0][1] * from[1];
        out[l * 3 + 1] = p->turn[1][0] * from[0] + p->turn[1][1] * from[1];
        out[l * 3 + 2] = p->depth * from[2];
    }
}

// ---- views --------------------------------------------------------------------------------------------------------

// Floats of scratch for a clip: its copy, and a face.
static size_t work_floats(int frames)
{
    size_t floats = (size_t)frames * (COLUMNS + WHOLE_FACE * 3);
    return (floats + 15) / 16 * 16;
}

static void augment_view(const struct augment *a, int view, float *work)
{
    const struct augment_plan *p = &a->plan[view];
    struct clip clip = {work, a->frame_count[p->clip]};
    size_t row = COLUMNS * sizeof(float);
    assert(p->first >= 0 && p->first + p->count <= clip.frames && p->count <= a->max_frames);
    memcpy(clip.x, a->frames + a->offset[p->clip], (size_t)clip.frames * row);
    if (p->partner >= 0)
        put_face(&clip, a->frames + a->offset[p->partner], a->frame_count[p->partner], p->flags,
                 clip.x + clip.frames * COLUMNS);
    if (p->flags & AUGMENT_FILL_HAND)
        fill_hand(&clip);
    if (p->flags & AUGMENT_INTERPOLATE)
        interpolate(&clip);
    float *out = a->out + (size_t)view * (size_t)a->max_frames * COLUMNS;
    struct placement placement = place(p);
    for (int f = 0; f < p->count; f++)
        place_frame(&placement, clip.x + (p->first + f) * COLUMNS, out + f * COLUMNS);
    memset(out + p->count * COLUMNS, 0, (size_t)(a->max_frames - p->count) * row);
}

void CPU_NAME(augment)(struct stream *s, const struct augment *a)
{
    int threads = cpu_threads(s), frames = a->max_frames;
    for (int v = 0; v < a->views; v++) // a clip may be longer than what is kept of it
        if (a->frame_count[a->plan[v].clip] > frames)
            frames = a->frame_count[a->plan[v].clip];
    size_t size = work_floats(frames);
    float *work = cpu_scratch(s, (size_t)threads * size * sizeof *work);
#pragma omp parallel for num_threads(threads)
    for (int v = 0; v < a->views; v++)
        augment_view(a, v, work + (size_t)omp_get_thread_num() * size);
}

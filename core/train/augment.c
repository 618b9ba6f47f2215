// Drawing of augmentation plans: see augment.h.
//
// Every number is drawn whether it is used or not, in the order of the table, so that changing one augmentation's
// settings leaves the others' draws as they were.
#include "core/train/augment.h"

#include <math.h>
#include <stdlib.h>

#include "core/base/memory.h"
#include "core/base/philox.h"

enum { CROP_LEAST_FRAMES = 20 };      // shorter clips are not cropped
static const double CROP_UNTIL = 0.5; // crop.p_late holds after this share of the run

// A training clip in the index, which is ordered by sign, then signer: a sign's clips lie together, and so do one
// signer's among them.
struct entry {
    int label;
    int64_t participant;
    uint32_t clip;
};

struct augmenter {
    const struct set *set;
    struct entry *index;
    uint32_t count;
    uint64_t seed;
    Islr__FaceCutmix face;
    Islr__FillHand fill;
    Islr__Crop crop;
    Islr__Scale scale;
    Islr__Distort distort;
    double interpolate, flip, rotate; // probabilities
    double radians;
    uint32_t face_last, fill_last, crop_last; // epoch up to which each is early in the run
};

// ---- the index ----------------------------------------------------------------------------------------------------

static int compare_sign(const struct entry *a, const struct entry *b)
{
    return (a->label > b->label) - (a->label < b->label);
}

static int compare_signer(const struct entry *a, const struct entry *b)
{
    int order = compare_sign(a, b);
    return order ? order : (a->participant > b->participant) - (a->participant < b->participant);
}

static int compare_entries(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;
    int order = compare_signer(a, b);
    return order ? order : (a->clip > b->clip) - (a->clip < b->clip);
}

// The entries equal to `key` by `compare`: [first, end).
struct span {
    uint32_t first, end;
};

// The first entry that is not below `key` (above: that is above it).
static uint32_t bound(const struct augmenter *a, const struct entry *key, int above,
                      int (*compare)(const struct entry *a, const struct entry *b))
{
    uint32_t low = 0, high = a->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = compare(&a->index[middle], key);
        if (order < 0 || (above && order == 0))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct span span_of(const struct augmenter *a, const struct entry *key,
                           int (*compare)(const struct entry *a, const struct entry *b))
{
    return (struct span){bound(a, key, 0, compare), bound(a, key, 1, compare)};
}

// A clip of the same sign: of another signer, or of any (itself too); -1 if there is none.
static int32_t draw_partner(const struct augmenter *a, const struct set_clip *clip, struct rng *rng)
{
    struct entry key = {clip->label, clip->participant, 0};
    struct span sign = span_of(a, &key, compare_sign), own = {0, 0};
    if (!a->face.any_signer)
        own = span_of(a, &key, compare_signer);
    uint32_t candidates = (sign.end - sign.first) - (own.end - own.first);
    uint32_t chosen = sign.first + rng_below(rng, candidates ? candidates : 1);
    if (own.end > own.first && chosen >= own.first)
        chosen += own.end - own.first;
    return candidates ? (int32_t)a->index[chosen].clip : -1;
}

// ---- the augmenter ------------------------------------------------------------------------------------------------

uint32_t augment_first_half(double until, uint32_t epochs)
{
    double tiny = 1e-9; // 0.29 * 100 is a little less than 29
    double last = fmin(floor(100 * until + tiny), floor(until * epochs + tiny)) - 1;
    return last > 0 ? (uint32_t)last : 0;
}

struct augmenter *augmenter_create(const struct set *set, const uint32_t *clips, uint32_t count, const Islr__Augment *a,
                                   uint64_t seed, uint32_t epochs)
{
    struct augmenter *m = xmalloc(sizeof *m);
    *m = (struct augmenter){.set = set,
                            .index = xcalloc(count ? count : 1, sizeof *m->index),
                            .count = count,
                            .seed = seed,
                            .face = *a->face_cutmix,
                            .fill = *a->fill_hand,
                            .crop = *a->crop,
                            .scale = *a->scale,
                            .distort = *a->distort,
                            .interpolate = a->interpolate->p,
                            .flip = a->flip->p,
                            .rotate = a->rotate->p,
                            .radians = a->rotate->degrees * M_PI / 180,
                            .face_last = augment_first_half(a->face_cutmix->until, epochs),
                            .fill_last = augment_first_half(a->fill_hand->until, epochs),
                            .crop_last = augment_first_half(CROP_UNTIL, epochs)};
    for (uint32_t i = 0; i < count; i++) {
        const struct set_clip *clip = set_clip(set, clips[i]);
        m->index[i] = (struct entry){clip->label, clip->participant, clips[i]};
    }
    qsort(m->index, count, sizeof *m->index, compare_entries);
    return m;
}

void augmenter_destroy(struct augmenter *a)
{
    if (!a)
        return;
    free(a->index);
    free(a);
}

// ---- draws --------------------------------------------------------------------------------------------------------

static int chance(struct rng *rng, double p)
{
    return rng_uniform_double(rng) < p;
}

static double between(struct rng *rng, double low, double high)
{
    return low + (high - low) * rng_uniform_double(rng);
}

static void draw_face(const struct augmenter *a, const struct set_clip *clip, uint32_t epoch, struct rng *rng,
                      struct augment_plan *plan)
{
    int wanted = chance(rng, a->face.p) && epoch <= a->face_last;
    int32_t partner = draw_partner(a, clip, rng);
    if (!wanted || partner < 0)
        return;
    plan->partner = partner;
    if (set_clip(a->set, (size_t)partner)->left_handed != clip->left_handed)
        plan->flags |= AUGMENT_PARTNER_FLIP;
    if (a->face.per_coordinate)
        plan->flags |= AUGMENT_FACE_KEEP_FLAT_Z;
}

static void draw_rotation(const struct augmenter *a, struct rng *rng, struct augment_plan *plan)
{
    int wanted = chance(rng, a->rotate);
    double angle = between(rng, -a->radians, a->radians);
    if (!wanted)
        return;
    plan->cosine = (float)cos(angle);
    plan->sine = (float)sin(angle);
}

static void draw_crop(const struct augmenter *a, uint32_t epoch, struct rng *rng, struct augment_plan *plan)
{
    int frames = plan->count, most = (int)floor(a->crop.share * frames + 1e-9) - 1;
    double p = epoch > a->crop_last && a->crop.p_late >= 0 ? a->crop.p_late : a->crop.p;
    int wanted = chance(rng, p), at_start = chance(rng, 0.5);
    int cut = 1 + (int)rng_below(rng, most > 0 ? (uint32_t)most : 1);
    if (!wanted || frames < CROP_LEAST_FRAMES || most < 1)
        return;
    plan->count = frames - cut;
    plan->first = at_start ? cut : 0;
}

// DOC: s*d, each on its own. CODE (distort.added): s + d, and no distortion without scaling.
static void draw_scale(const struct augmenter *a, struct rng *rng, struct augment_plan *plan)
{
    int scaled = chance(rng, a->scale.p), distorted = chance(rng, a->distort.p);
    double s = between(rng, 1 - a->scale.range, 1 + a->scale.range);
    for (int c = 0; c < 3; c++) {
        double d = between(rng, 1 - a->distort.range, 1 + a->distort.range);
        double factor = (scaled ? s : 1) * (distorted ? d : 1);
        if (a->distort.added)
            factor = scaled ? s + (distorted ? d : 0) : 1;
        plan->factor[c] = (float)factor;
    }
}

struct augment_plan augmenter_draw(const struct augmenter *a, uint32_t clip, uint32_t view, uint32_t epoch)
{
    const struct set_clip *c = set_clip(a->set, clip);
    struct rng rng = rng_make(a->seed, RNG_AUGMENT, view, clip, epoch);
    struct augment_plan plan = {.clip = (int32_t)clip, .partner = -1, .count = c->frames, .cosine = 1};
    draw_face(a, c, epoch, &rng, &plan);
    if (chance(&rng, a->fill.p) && epoch <= a->fill_last)
        plan.flags |= AUGMENT_FILL_HAND;
    if (chance(&rng, a->interpolate))
        plan.flags |= AUGMENT_INTERPOLATE;
    if (chance(&rng, a->flip))
        plan.flags |= AUGMENT_FLIP;
    draw_rotation(a, &rng, &plan);
    draw_crop(a, epoch, &rng, &plan);
    draw_scale(a, &rng, &plan);
    return plan;
}

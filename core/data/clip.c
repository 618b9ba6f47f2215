// Preparation of one clip: see clip.h.
#include "core/data/clip.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "core/base/memory.h"

enum { SELECTED = AVERAGES_START, AVERAGES = LANDMARKS - AVERAGES_START };

// clang-format off
// A line each: left hand, right hand, silhouette, lips, arms, cheeks.
static const int16_t selected[SELECTED] = {
    468, 469, 470, 471, 472, 473, 474, 475, 476, 477, 478, 479, 480, 481, 482, 483, 484, 485, 486, 487, 488,
    522, 523, 524, 525, 526, 527, 528, 529, 530, 531, 532, 533, 534, 535, 536, 537, 538, 539, 540, 541, 542,
    10, 54, 67, 132, 150, 152, 162, 172, 176, 234, 284, 297, 361, 379, 389, 397, 400, 454,
    13, 37, 40, 61, 78, 81, 84, 87, 88, 91, 191, 267, 270, 291, 308, 311, 314, 317, 318, 321, 415,
    500, 501, 502, 503, 504, 505, 506, 507, 508, 509, 510, 511,
    205, 425};

static const struct {
    int count;
    int16_t of[9];
} averages[AVERAGES] = {
    {9, {466, 387, 385, 398, 263, 390, 374, 381, 362}}, // left eye
    {9, {246, 160, 158, 173, 33, 163, 145, 154, 133}},  // right eye
    {4, {383, 293, 296, 285}},                          // left brow
    {4, {156, 63, 66, 55}},                             // right brow
    {5, {1, 2, 98, 327, 168}}};                         // nose
// clang-format on

static bool has_hands(const double *frame)
{
    for (int i = 0; i < HAND_LANDMARKS; i++)
        if (!isnan(frame[(RAW_LEFT_HAND + i) * 3]) || !isnan(frame[(RAW_RIGHT_HAND + i) * 3]))
            return true;
    return false;
}

// One coordinate of a prepared landmark of a raw frame. A mean over a NaN is NaN.
static double landmark_value(const double *frame, int landmark, int axis)
{
    if (landmark < SELECTED)
        return frame[selected[landmark] * 3 + axis];
    double sum = 0;
    int count = averages[landmark - SELECTED].count;
    for (int i = 0; i < count; i++)
        sum += frame[averages[landmark - SELECTED].of[i] * 3 + axis];
    return sum / count;
}

// Marks the frames to keep and returns their number, at least 1: every d-th of those with hands, or of all if none has.
static int choose_frames(const double *raw, int frames, int max_len, bool *keep)
{
    int with_hands = 0, kept = 0, number = 0;
    for (int f = 0; f < frames; f++)
        with_hands += keep[f] = has_hands(raw + (size_t)f * RAW_LANDMARKS * 3);
    int left = with_hands ? with_hands : frames;
    int d = left <= max_len ? 1 : left / max_len + 1;
    if (d > left) // only for max_len 1
        d = left;
    for (int f = 0; f < frames; f++) {
        bool candidate = !with_hands || keep[f];
        keep[f] = candidate && ++number % d == 0;
        kept += keep[f];
    }
    return kept;
}

// x := (x - mean) / deviation over the values [count, 3] of one axis that are not NaN, then NaN := 0. Without any
// deviation, but for rounding, all become 0 (0/0 in the published program).
static void normalise_axis(const double *values, size_t count, int axis, float *out)
{
    double sum = 0, squares = 0, largest = 0;
    size_t known = 0;
    for (size_t i = 0; i < count; i++) {
        double v = values[i * 3 + axis];
        if (isnan(v))
            continue;
        sum += v;
        largest = fmax(largest, fabs(v));
        known++;
    }
    double mean = known ? sum / known : 0;
    for (size_t i = 0; i < count; i++) {
        double v = values[i * 3 + axis] - mean;
        if (!isnan(v))
            squares += v * v;
    }
    double deviation = known ? sqrt(squares / known) : 0;
    double scale = deviation > 1e-12 * largest ? 1 / deviation : 0;
    for (size_t i = 0; i < count; i++) {
        double v = values[i * 3 + axis];
        out[i * 3 + axis] = isnan(v) ? 0 : (float)((v - mean) * scale);
    }
}

int clip_prepare(const double *raw, int frames, int max_len, float *out)
{
    bool *keep = xcalloc((size_t)frames, sizeof *keep);
    int kept = choose_frames(raw, frames, max_len, keep);
    double *values = xcalloc((size_t)kept * LANDMARKS * 3, sizeof *values), *v = values;
    for (int f = 0; f < frames; f++) {
        if (!keep[f])
            continue;
        for (int i = 0; i < LANDMARKS; i++)
            for (int axis = 0; axis < 3; axis++)
                *v++ = landmark_value(raw + (size_t)f * RAW_LANDMARKS * 3, i, axis);
    }
    for (int axis = 0; axis < 3; axis++)
        normalise_axis(values, (size_t)kept * LANDMARKS, axis, out);
    free(values);
    free(keep);
    return kept;
}

void clip_count_missing(const float *clip, int frames, int *left, int *right)
{
    int *counts[2] = {left, right};
    const int starts[2] = {LEFT_HAND_START, RIGHT_HAND_START};
    for (int hand = 0; hand < 2; hand++) {
        *counts[hand] = 0;
        for (int f = 0; f < frames; f++) {
            const float *x = clip + ((size_t)f * LANDMARKS + (size_t)starts[hand]) * 3;
            int i = 0;
            while (i < HAND_LANDMARKS * 3 && x[i] == 0)
                i++;
            *counts[hand] += i == HAND_LANDMARKS * 3;
        }
    }
}

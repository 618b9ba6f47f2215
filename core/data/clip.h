// Preparation of one clip: what was recorded becomes what the model takes in. reference-system.md, section 2.
#ifndef ISLR_DATA_CLIP_H
#define ISLR_DATA_CLIP_H

#include "core/data/landmark.h"

// Prepares raw [frames, RAW_LANDMARKS, 3] (NaN: not detected; others at most 1e30), frames >= 1, into
// out [returned frames, LANDMARKS, 3], which has room for max_len >= 1 frames: drops frames without hands, strides,
// selects and averages landmarks, normalises over the clip, and sets what is missing to 0. Computed in double, rounded
// once at the end. Always returns 1..max_len.
int clip_prepare(const double *raw, int frames, int max_len, float *out);

// In how many of the clip's frames [frames, LANDMARKS, 3] all of a hand is zero, that is, missing.
void clip_count_missing(const float *clip, int frames, int *left, int *right);

#endif

// A prepared set: one memory-mapped file (.islr) with every clip of a training or evaluation set as the model takes it
// in, before padding. Written by prepare.h; the format is described in set_format.h.
//
// A set that opens has a sound header and index: every offset and length was checked, so nothing in it can lead outside
// the mapping. The frames themselves are covered by a SHA-256 for each clip, which set_verify() checks:
// prepare_cached() has done so, whoever opens another set to work with its frames is to.
// A set is read-only: any number of threads may use it.
#ifndef ISLR_DATA_SET_H
#define ISLR_DATA_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/data/landmark.h"

struct set_clip {
    const float *data;    // [frames, LANDMARKS, 3]: x, y, z, normalised over the clip; a missing value is 0
    uint64_t first_frame; // of all frames of the set: data == set_frames(set) + first_frame * LANDMARKS * 3
    int frames;           // 1..set_max_len()
    int source_frames;    // of the recording, before preparation
    int label;            // 0..set_sign_count() - 1
    int fold;             // 0..set_fold_count() - 1; -1 if the set has no folds
    int left_missing;     // frames in which all of the left hand is zero
    int right_missing;
    bool left_handed;    // left_missing < right_missing
    int64_t participant; // the ids of train.csv
    int64_t sequence;
    const char *path; // of the recording, as train.csv gives it
    struct hash hash; // SHA-256 of the bytes of `data`
};

// A recording that train.csv names and the set lacks, because it could not be prepared.
struct set_skipped {
    const char *path, *reason;
};

struct set;

// NULL with ERR_DAMAGED if the file is not a sound set, ERR_NOT_FOUND if it does not exist.
struct set *set_open(const char *path, struct error *e);
void set_close(struct set *s); // NULL is fine

// Clips stand in the order of train.csv.
size_t set_count(const struct set *s);
const struct set_clip *set_clip(const struct set *s, size_t i); // belongs to the set
const float *set_frames(const struct set *s);                   // [set_frame_count(), LANDMARKS, 3], 4096-aligned
uint64_t set_frame_count(const struct set *s);                  // the sum of all clips' frames
long set_find(const struct set *s, int64_t participant, int64_t sequence); // index of that clip, or -1

int set_max_len(const struct set *s); // the most frames a clip may have (25 or 80 in the published models)
int set_sign_count(const struct set *s);
const char *set_sign_name(const struct set *s, int label);

int set_fold_count(const struct set *s); // 0: no folds
uint64_t set_fold_seed(const struct set *s);
bool set_folds_given(const struct set *s); // the folds were read from a file, so the seed says nothing

// What the set holds: SHA-256 over its header and index, which carry the hash of each clip's frames. The same
// recordings, folds and options give the same hash, however many threads and ranks prepared them and wherever they lay.
const struct hash *set_hash(const struct set *s);

// What the set was made from: prepare_plan.h.
const struct hash *set_source_key(const struct set *s);

size_t set_skipped_count(const struct set *s);
const struct set_skipped *set_skipped(const struct set *s, size_t i);

// Checks the frames of every clip against its hash, and that all values are finite; threads 0: all cores. ERR_DAMAGED
// names the first clip that differs.
int set_verify(const struct set *s, int threads, struct error *e);
// The same of clips first .. first + count - 1.
int set_verify_clips(const struct set *s, size_t first, size_t count, int threads, struct error *e);

#endif

// Synthetic recordings in the competition's layout: for a first try, tests and tests of scale. Hands, face and body
// move in a way that depends on the sign; size, speed, handedness, camera, habits and noise on the signer.
#ifndef ISLR_DATA_SYNTH_H
#define ISLR_DATA_SYNTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

enum { SYNTH_MAX_SIGNS = 6400, SYNTH_MAX_PARTICIPANTS = 4096 };

struct synth_options {
    int signs, participants;
    int64_t clips; // spread evenly over participants and signs
    uint64_t seed;
    int threads;  // 0: all cores; does not change what is written
    bool replace; // whether `directory` may hold a train.csv already
    void *context;
    void (*progress)(void *context, size_t done, size_t total); // may be NULL; one call at a time, from any thread
    bool (*stopped)(void *context); // may be NULL; from any thread: end with ERR_INTERRUPTED
};

// Writes train.csv (last), sign map and recordings into `directory`, which is created if need be.
int synth_write(const char *directory, const struct synth_options *o, struct error *e);

#endif

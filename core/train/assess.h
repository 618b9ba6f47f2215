// How good models are on labelled clips: the figures, a table by sign, what is taken for what.
#ifndef ISLR_TRAIN_ASSESS_H
#define ISLR_TRAIN_ASSESS_H

#include <stdbool.h>

#include <jansson.h>

#include "core/base/pulse.h"
#include "core/data/set.h"
#include "kernels/backend.h"

struct assess_options {
    struct backend *backend;
    const char *const *models; // checkpoints; several: the mean of their softmax
    size_t model_count;
    const char *data; // a data directory, or a prepared set
    int fold;         // only its clips; -1: all
    int k;            // folds where a directory is prepared
    uint64_t fold_seed;
    const char *fold_file; // or NULL
    bool strict;           // a broken clip of a directory is an error
    int heads;             // of checkpoints that do not say
    enum dtype type;
    int threads;         // 0: all cores
    struct pulse *pulse; // NULL: nobody looks
};

struct confused {
    int label, predicted;
    uint32_t count;
};

struct assessment {
    struct set *set; // labels and names
    int classes;
    uint32_t *clips; // [count], indices in the set
    size_t count;
    float *probabilities;      // [count, classes]
    uint32_t *seen, *right;    // [classes]
    struct confused *confused; // most frequent first
    size_t confused_count;
    double accuracy, top5, loss;
};

enum { ASSESS_CONFUSED_SHOWN = 10 };

int assess(const struct assess_options *o, struct assessment *a, struct error *e); // free also after a failure
void assessment_free(struct assessment *a);

// {clips, accuracy, top5, loss, signs: [{sign, clips, correct, accuracy}], most_confused: [{sign, predicted, clips}]}
json_t *assessment_json(const struct assessment *a);

#endif

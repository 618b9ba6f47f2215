// Soups from files as users ask for them: uniform, or greedy on held-out clips.
#ifndef ISLR_TRAIN_MIX_H
#define ISLR_TRAIN_MIX_H

#include <stdbool.h>

#include "core/base/log.h"
#include "core/base/pulse.h"
#include "core/train/soup.h"

struct mix_options {
    const char *const *files; // checkpoints of one architecture
    size_t file_count;
    int heads; // of checkpoints that do not say
    int greedy;
    // Of greedy ones alone:
    struct backend *backend;
    const char *data; // a data directory or a prepared set
    int fold;         // judged on its clips; -1: all
    int k;
    uint64_t fold_seed;
    const char *fold_file; // or NULL
    bool strict;           // a broken clip of a directory is an error
    int threads;
    struct pulse *pulse; // NULL: nobody looks
    struct log log;      // what stays and what does not
};

// kept [file_count] gets 1 for the files that are in the soup; NULL: not wanted.
int mix(const struct mix_options *o, struct checkpoint *out, int *kept, struct error *e);

#endif

// Which of a run's artifacts RUN:WHAT means, and under which file names they are kept.
#ifndef ISLR_RPC_ARTIFACT_NAME_H
#define ISLR_RPC_ARTIFACT_NAME_H

#include <stddef.h>

#include "core/base/error.h"
#include "proto/control.pb-c.h"

#define ARTIFACT_WHATS                                                                                                 \
    "soup, student, teacher, distilled (the final ones), best, epoch-N, predictions, predictions.csv, summary, all"

struct artifact_item {
    const Islr__CheckpointInfo *info; // in the list
    char *path;                       // relative
};

struct artifact_choice {
    struct artifact_item *items;
    size_t count;
};

// Zero-initialise *choice; artifact_choice_free() at the end, also after a failure. Single ones get a plain name
// ("soup.safetensors", "distilled-epoch-0091.safetensors" for best); epoch-N and all keep the layout of a run's
// directory, without resume points. -1: nothing fits (ERR_NOT_FOUND, saying what there is) or the server's names are
// not fit for files (ERR_DAMAGED).
int artifact_choose(const Islr__CheckpointList *list, uint64_t run, const char *what, struct artifact_choice *choice,
                    struct error *e);
// Whether RUN:what can mean a checkpoint of this kind and epoch; which one of them it does changes while the run goes on.
int artifact_may_mean(const char *what, const char *kind, uint32_t epoch);
// Of each checkpoint in the list whether no later one of the same kind and epoch is there (an earlier attempt may have left
// another); to free().
char *artifact_newest(const Islr__CheckpointList *list);
void artifact_choice_free(struct artifact_choice *choice);

#endif

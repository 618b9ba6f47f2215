// Predictions as files: probabilities as .npy, a table as CSV.
#ifndef ISLR_TRAIN_PREDICTIONS_H
#define ISLR_TRAIN_PREDICTIONS_H

#include "core/data/set.h"

// probabilities [count, classes] of clips (indices in the set). npy: float32 as they are; csv:
// participant_id,sequence_id,sign,predicted,probability,correct. Either path may be NULL.
int predictions_write(const struct set *set, const uint32_t *clips, uint32_t count, const float *probabilities,
                      int classes, const char *npy, const char *csv, struct error *e);

// A CSV field, quoted where it must be (RFC 4180).
struct strbuf;
void csv_add_field(struct strbuf *b, const char *text);

int most_probable(const float *row, int classes); // ties: the lower class

#endif

// Many metric records as one blob: how the database keeps figures. A record is what a MetricPoint says (step, epoch,
// and the values of a number of metrics) with its place in the run's sequence. Private to core/store.
//
// Format: u8 packing (0 plain, 1 zstd), varint size of the plain bytes, the bytes. Plain bytes, all little-endian:
//   u8 version (1), varint number of groups; a group holds the records of one attempt that name the same metrics:
//     varint attempt, u8 evaluation, varint names, varint name ids.., varint records,
//     seq: varint differences (the first: itself); time_ms, step: zigzag varint differences;
//     epoch, then each metric: a column of reals: u8 kind (0 double, 1 float, 2 one double for all), its bytes
//     transposed (all first bytes, all second bytes, ..), which is what lets zstd see the smooth exponents.
// Floats are used only where they give the same doubles back. Nothing is lost, NaN and infinities included.
#ifndef ISLR_STORE_METRIC_BLOCK_H
#define ISLR_STORE_METRIC_BLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

enum {
    METRIC_BLOCK_RECORDS = 4096,  // records of a full block
    METRIC_NAMES_MAX = 256,       // metrics that one record may name
    METRIC_IDS_MAX = 1 << 20,     // different metric names in one database
    METRIC_BLOCK_VALUES = 1 << 20 // values of one block at most (8 MB)
};

struct metric_record {
    uint64_t seq;
    int64_t time_ms;
    uint32_t attempt;
    uint64_t step;
    double epoch;
    int evaluation;
    uint32_t count;        // of names and values, at most METRIC_NAMES_MAX
    const uint32_t *names; // [count] ids of metric_names
    const double *values;  // [count]
};

// `count` records, 1 to METRIC_BLOCK_RECORDS, seq ascending. A malloc'ed blob.
uint8_t *metric_block_encode(const struct metric_record *records, size_t count, size_t *size);

// The records, seq ascending, with what they point to. ERR_DAMAGED for any bytes that are no block.
struct metric_block {
    struct metric_record *records;
    size_t count;
    uint32_t *names; // backing of records[].names
    double *values;  // and of records[].values
};
int metric_block_decode(const uint8_t *data, size_t size, struct metric_block *out, struct error *e);
void metric_block_free(struct metric_block *b);

#endif

// Recordings as parquet files: the only door to Arrow C++ (no exception and no Arrow type passes it). The layout of a
// file is that of reference-system.md, section 1: one row for each (frame, landmark) with the columns
// frame, type, landmark_index, x, y, z (and row_id, which is written but not read).
#ifndef ISLR_DATA_PARQUET_H
#define ISLR_DATA_PARQUET_H

#include "core/base/error.h"
#include "core/data/landmark.h"

#ifdef __cplusplus
extern "C" {
#endif

// The longest recording that is accepted (nine minutes at 30 frames a second): bounds what a damaged or hostile file
// can make the reader allocate. Published recordings have at most 537 frames.
enum { PARQUET_MAX_FRAMES = 16384 };

// A reader keeps its buffers from one file to the next. One thread at a time.
struct parquet_reader;
struct parquet_reader *parquet_reader_create(void);
void parquet_reader_destroy(struct parquet_reader *r); // NULL is fine

// Reads one recording: *x is [frames, RAW_LANDMARKS, 3] (x, y, z; NaN where a landmark was not detected), frames in
// ascending order of their number, and belongs to the reader until its next call. Frame numbers may start anywhere and
// have gaps. Columns and rows may come in any order, in any row groups, encodings and codecs; x, y, z may be float or
// double; nulls in them are NaN; other columns are ignored.
// Fails with ERR_DAMAGED if the file is not parquet, a column is missing or of the wrong type, there are no frames, a
// row is missing, doubled or of an unknown landmark, or a coordinate is infinite or beyond 1e30 (its row counts from
// 0): what is in it will not do. Whatever keeps it from being read says nothing of that, and may be gone the next time:
// ERR_NOT_FOUND, ERR_DENIED, else ERR_FAILED (a bad disk, no memory or descriptors left, a file server that does not
// answer). The text does not name the file: the caller has its name.
int parquet_read_clip(struct parquet_reader *r, const char *path, const double **x, int *frames, struct error *e);

// Writes such a file in the published column order and types, frames numbered from 0, rows in raw landmark order, NaN
// as null, snappy-compressed where Arrow has it. Not synced to disk and not atomic: for data that can be made again.
// One thread at a time for each path.
int parquet_write_clip(const char *path, const double *x, int frames, struct error *e);

// The version of the Arrow in use.
const char *parquet_library(void);

#ifdef __cplusplus
}
#endif

#endif

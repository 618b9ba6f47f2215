// Parquet files of every shape, sound and not, for tests of the reader.
#ifndef ISLR_TESTS_DATA_PARQUET_MAKER_H
#define ISLR_TESTS_DATA_PARQUET_MAKER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct made_file {
    size_t rows;
    const int64_t *frame, *index; // [rows]
    const char *const *type;      // [rows]; NULL entries are nulls
    const double *x;              // [rows, 3]; NaN is written as NaN, or as null if `nulls` is set
    int nulls;
    // The columns in order, separated by spaces, each NAME:TYPE with TYPE int32, int64, float, double, text; names
    // beside the six known ones are filled with something. A '!' behind the type makes the column required (not
    // nullable).
    const char *columns;
    size_t group_rows; // rows in a row group; 0: all in one
    const char *codec; // none, snappy, gzip, brotli, zstd, lz4_raw_raw, lz4_hadoop
    int plain;         // no dictionaries
};

// 0, or -1 if this Arrow lacks the codec; other trouble ends the program.
int parquet_make(const char *path, const struct made_file *f);

#ifdef __cplusplus
}
#endif

#endif

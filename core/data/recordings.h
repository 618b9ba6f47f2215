// The competition's layout of a data directory: train.csv (path, participant_id, sequence_id, sign; the path relative
// to the directory) and sign_to_prediction_index_map.json ({"sign": class index}). reference-system.md, section 1.
#ifndef ISLR_DATA_RECORDINGS_H
#define ISLR_DATA_RECORDINGS_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"
#include "core/base/hash.h"

struct recording {
    char *path; // as train.csv gives it
    int64_t participant, sequence;
    int label;
    int line;         // of train.csv
    int64_t bytes;    // size of the file
    int64_t modified; // its modification time, nanoseconds since 1970
};

struct recordings {
    char *directory;
    size_t count;
    struct recording *clips; // in train.csv's order
    int sign_count;
    char **signs;         // names by class index
    struct hash csv_hash; // of the files' bytes
    struct hash signs_hash;
};

// Reads both files and looks at every recording (threads 0: all cores) without opening it. Fails with all faults in one
// text, each with its line: a sign that the map lacks, a missing recording, the same clip (participant_id and
// sequence_id, or path) twice, an id that is no integer, a path out of the directory; or with the first malformed line.
struct recordings *recordings_read(const char *directory, int threads, struct error *e);
void recordings_free(struct recordings *r); // NULL is fine

#endif

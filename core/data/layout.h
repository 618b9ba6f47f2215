// The competition's layout of a data directory: train.csv (path, participant_id, sequence_id, sign; the path relative to
// the directory) and sign_to_prediction_index_map.json ({"sign": class index}). reference-system.md, section 1.
#ifndef ISLR_DATA_LAYOUT_H
#define ISLR_DATA_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"
#include "core/base/hash.h"

struct layout_clip {
    char *path; // as train.csv gives it
    int64_t participant, sequence;
    int label;
    int line;         // of train.csv
    int64_t bytes;    // size of the file
    int64_t modified; // its modification time, nanoseconds since 1970
};

struct layout {
    char *directory;
    size_t count;
    struct layout_clip *clips; // in train.csv's order
    int sign_count;
    char **signs;         // names by class index
    struct hash csv_hash; // of the files' bytes
    struct hash signs_hash;
};

// Reads both files and looks at every recording (threads 0: all cores) without opening it. Fails with all faults in one
// text, each with its line: a sign that the map lacks, a missing recording, the same clip (participant_id and
// sequence_id, or path) twice, an id that is no integer, a path out of the directory; or with the first malformed line.
struct layout *layout_read(const char *directory, int threads, struct error *e);
void layout_free(struct layout *l); // NULL is fine

#endif

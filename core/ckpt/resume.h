// Resume points: what a killed run goes on from. A directory of files point-<step>.islr-resume, of which the newest two
// are kept; each holds named binary sections with their SHA-256, and a SHA-256 of the whole. Knows nothing of models.
//
// File, little-endian: magic "ISLRRSM1" | u64 step | u64 number of sections | for each: u64 size, SHA-256 of its data
// [32], u64 length of the name, name padded with zeros to a multiple of 8 | the sections' data in the same order,
// each padded with zeros to begin at a multiple of 64 | SHA-256 of everything before the data [32], which, holding
// the sections' hashes, is one of the whole file: every byte of it is covered (padding must be zero).
#ifndef ISLR_CKPT_RESUME_H
#define ISLR_CKPT_RESUME_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/log.h"

enum { RESUME_SECTIONS_MAX = 4096, RESUME_NAME_MAX = 256, RESUME_KEPT = 2 };

struct resume_section {
    const char *name; // unique in its point
    const void *data;
    size_t size; // bytes
};

// Writes the point of `step` into `directory` (made if missing) atomically and durably. Then removes all but the
// newest RESUME_KEPT points, those of later steps (damaged ones that this run did not begin from), and temporaries
// that a killed writer left. One writer a directory at a time.
int resume_save(const char *directory, uint64_t step, const struct resume_section *sections, size_t count,
                struct error *e);

// Removes the points of later steps than `step`: damaged ones that were passed over. They would count among RESUME_KEPT
// once steps have gone beyond them, in the place of a whole one.
int resume_remove_later(const char *directory, uint64_t step, struct error *e);

// An open point; sections point into the mapping (aligned to 64 bytes) and live until resume_close().
struct resume_point {
    uint64_t step;
    struct resume_section *sections; // in the order written
    size_t count;
    struct file_map map;
    char *path;
};

// Opens the newest point of `directory` that is whole; a newer one that is not is named in a warning to `log`.
// ERR_NOT_FOUND: there is none (or no directory); ERR_DAMAGED: there are some and all are damaged.
int resume_open(const char *directory, const struct log *log, struct resume_point *point, struct error *e);

// Opens one file; ERR_DAMAGED with what is wrong unless it is whole to the last bit.
int resume_open_file(const char *path, struct resume_point *point, struct error *e);
void resume_close(struct resume_point *point);

// The section of that name; NULL: not there.
const struct resume_section *resume_find(const struct resume_point *point, const char *name);

// Copies a section whose size must be exactly `size`; otherwise ERR_DAMAGED naming section and sizes.
int resume_read(const struct resume_point *point, const char *name, void *out, size_t size, struct error *e);

#endif

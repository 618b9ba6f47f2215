// Resume points: what a killed run goes on from. A directory of files point-<step>.islr-resume, of which the newest two
// are kept; each holds named binary sections with their SHA-256, and a SHA-256 of the whole. Knows nothing of models.
//
// File, little-endian: magic "ISLRRSM1" | u64 step | u32 sections | u32 0 | per section: u32 name length, u32 0,
// u64 size, SHA-256 of the data [32], name padded with zeros to a multiple of 8 | SHA-256 of all so far [32] | then the
// sections' data, each padded with zeros to a multiple of 64 from the start of the file | SHA-256 of the whole file
// before it [32].
#ifndef ISLR_CKPT_RESUME_H
#define ISLR_CKPT_RESUME_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/log.h"

enum { RESUME_SECTIONS_MAX = 65536, RESUME_NAME_MAX = 256, RESUME_KEPT = 2 };

struct resume_section {
    const char *name; // unique in its point
    const void *data;
    size_t size; // bytes
};

// Writes the point of `step` into `directory` (made if missing) atomically and durably, then removes all but the newest
// RESUME_KEPT points and temporaries that a killed writer left. One writer a directory at a time.
int resume_save(const char *directory, uint64_t step, const struct resume_section *sections, size_t count,
                struct error *e);

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

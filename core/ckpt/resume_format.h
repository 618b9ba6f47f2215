// The directory and the file of resume points: between the files of core/ckpt. The format is described in resume.h.
#ifndef ISLR_CKPT_RESUME_FORMAT_H
#define ISLR_CKPT_RESUME_FORMAT_H

#include "core/base/hash.h"
#include "core/ckpt/resume.h"

#define RESUME_MAGIC  "ISLRRSM1"
#define RESUME_SUFFIX ".islr-resume"

enum { RESUME_ALIGN = 64 }; // of the sections' data in the file

// Bytes from `at` to the next multiple of `step`.
static inline size_t resume_padding(size_t at, size_t step)
{
    return (step - at % step) % step;
}

// The points of a directory, newest (highest step) first.
struct resume_listing {
    struct resume_file {
        char *path;
        uint64_t step;
    } * items;
    size_t count;
};
int resume_list(const char *directory, struct resume_listing *out, struct error *e); // on failure it is empty
void resume_listing_free(struct resume_listing *listing);

// Removes what killed writers left.
int resume_remove_temporaries(const char *directory, struct error *e);

#endif

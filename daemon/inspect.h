// islrd inspect: what the command (inspect.c) and its kinds of files (inspect_<kind>.c) share.
#ifndef ISLR_DAEMON_INSPECT_H
#define ISLR_DAEMON_INSPECT_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "core/base/error.h"

struct inspect_request {
    const char *file;
    bool json;                     // one document to stdout instead of text
    bool clip;                     // only this clip of a set:
    int64_t participant, sequence; //
    const char *npy;               // NULL, or where to write its frames
};

// A kind of file. Both are given a path that exists.
struct inspect_kind {
    const char *name;                     // "prepared set"
    bool (*recognises)(const char *file); // by its first bytes
    int (*print)(const struct inspect_request *r, struct error *e);
};

extern const struct inspect_kind inspect_set;
extern const struct inspect_kind inspect_checkpoint;
extern const struct inspect_kind inspect_resume;

// Prints one document and frees it.
void inspect_print_json(json_t *root);

#endif

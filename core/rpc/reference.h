// What a job may name in place of a model's file: an artifact of the server's, as sha256:HEX or RUN:WHAT.
#ifndef ISLR_RPC_REFERENCE_H
#define ISLR_RPC_REFERENCE_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "proto/job.pb-c.h"

enum reference_kind { REFERENCE_NONE, REFERENCE_HASH, REFERENCE_RUN };

struct reference {
    enum reference_kind kind; // NONE: it has not the form of one, so it is a file's path (or "")
    struct hash sha256;       // HASH
    uint64_t run;             // RUN
    const char *what;         // RUN: in the text (artifact_name.h: what it may be)
};

// ERR_INVALID: it has the form of a reference and is none.
int reference_parse(const char *text, struct reference *out, struct error *e);

// The job's field number i that may hold one, counted from 0, and its name ("models[2]"; NULL: not wanted); NULL behind
// the last. The job is complete.
char **reference_field(Islr__JobSpec *job, size_t i, char name[32]);

#endif

// What the store's tests share: a store in a directory of its own, and requests in one line.
#ifndef ISLR_TESTS_STORE_RIG_H
#define ISLR_TESTS_STORE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/store/artifact_row.h"
#include "core/store/checkpoint.h"
#include "core/store/record.h"
#include "core/store/record_read.h"
#include "core/store/run.h"
#include "core/store/run_read.h"
#include "core/store/store.h"

struct rig {
    char directory[64];
    struct store *store;
};

void rig_open(struct rig *rig);
void rig_reopen(struct rig *rig); // closes and opens the same directory
void rig_close(struct rig *rig);  // and removes the directory

// Runs a request; fails the test, with the request's own words, unless it ends as wanted.
void rig_call(struct rig *rig, struct store_op *op, enum store_status wanted);

uint64_t rig_submit(struct rig *rig, const char *name);
struct run_now rig_verb(struct rig *rig, uint64_t run, enum run_verb_kind kind, int stop_why);
void rig_refuse(struct rig *rig, uint64_t run, enum run_verb_kind kind, enum error_code code);
uint32_t rig_start(struct rig *rig, uint64_t run, size_t ranks); // the attempt's number; it is running
struct run_now rig_end(struct rig *rig, uint64_t run, uint32_t attempt, enum attempt_outcome outcome, int retryable);

// `count` records of an attempt from `first` on: every third a line "line <seq>", the others the metrics "loss/student"
// (1 / seq), "lr" (3e-4, no float) at step seq.
Islr__Records *rig_records(uint64_t run, uint32_t attempt, uint64_t first, size_t count);
void rig_records_free(Islr__Records *records);
void rig_add_records(struct rig *rig, uint64_t run, uint32_t attempt, uint64_t first, size_t count);

// All records of a run behind after_seq, read in pages; the sequence is checked to be without holes.
struct record_page rig_read(struct rig *rig, uint64_t run, uint64_t after_seq, size_t page, struct pool *pool);

struct hash rig_artifact(struct rig *rig, const char *content);
// The same with its file.
struct hash rig_file(struct rig *rig, const char *content);
char *rig_file_path(struct rig *rig, const struct hash *hash); // to free()
uint64_t rig_checkpoint(struct rig *rig, uint64_t run, uint32_t attempt, const char *what, uint64_t step,
                        const struct hash *hash);

#endif

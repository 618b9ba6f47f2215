// A row of the table runs as a RunSummary. Private to core/store.
#ifndef ISLR_STORE_RUN_SUMMARY_H
#define ISLR_STORE_RUN_SUMMARY_H

#include "core/store/db.h"
#include "core/store/pool.h"
#include "proto/control.pb-c.h"

#define RUN_SUMMARY_COLUMNS                                                                                            \
    "r.id, r.name, r.user, r.state, r.reason, r.priority, r.submitted_ms, r.started_ms, r.ended_ms, r.attempts,"       \
    " r.ranks, r.step, r.steps, r.kind, r.final, r.parent_id, r.grouped"
enum { RUN_SUMMARY_ID = 0, RUN_SUMMARY_COLUMN_COUNT = 17 }; // further columns of a query may follow

Islr__RunSummary *run_summary_make(sqlite3_stmt *row, struct pool *pool);
// Of a group: what comes from its members. Others stay as they are.
int run_summary_group(struct db *db, Islr__RunSummary *s, struct error *e);

// The same for lists of many thousands, to be packed and sent: the final values stay the packed bytes that the database
// holds (as the message's unknown fields, which protobuf-c packs as they are), so `final` is empty here. With
// filter->first_of only the first of these that the run has.
Islr__RunSummary *run_summary_make_packed(sqlite3_stmt *row, const Islr__ListRuns *filter, struct pool *pool);

#endif

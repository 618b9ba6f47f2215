// A run's records: log lines and metrics, as a worker sends them, given the run's next sequence numbers.
#ifndef ISLR_STORE_RECORD_H
#define ISLR_STORE_RECORD_H

#include <stdint.h>

#include "core/store/reporter.h"
#include "core/store/store.h"
#include "proto/control.pb-c.h"

enum {
    RECORD_LINE_MAX = 64 << 10, // bytes of a log line
    RECORD_NAME_MAX = 128,      // bytes of a metric's name
    RUN_FINALS_MAX = 256        // last values of evaluation metrics in a run's summary: of the first ones that it names
};

// Whether a worker's message is one that record_add may be given: every record a line or a metric within the bounds,
// numbered without holes. ERR_INVALID names the record.
int record_check(const Islr__Records *records, struct error *e);

// Takes the records in. Those that the attempt has delivered before are passed over, so sending twice does no harm.
// REFUSED: another rank reports on the attempt (ERR_DENIED), it has ended and these are new (ERR_NOT_FOUND), or records
// before them are missing (ERR_INVALID).
struct record_add {
    struct store_op op;
    const Islr__Records *records; // checked, with run and attempt
    const struct reporter *by;    // NULL: the server itself
    // results
    uint64_t acked;    // the attempt's records up to this one are durable
    uint64_t last_seq; // of the run
    uint64_t step;     // of the newest metric, 0: none among them
    int added;         // records that were new
};
void record_add_prepare(struct record_add *r);

// The last of an attempt's own numbers that is durable, 0: none. For a worker that comes back.
struct record_acked {
    struct store_op op;
    uint64_t run;
    uint32_t attempt;
    // results
    uint64_t acked;
    int open; // the attempt is still under way
};
void record_acked_prepare(struct record_acked *r);

// Private to core/store: packs the small blocks at the end of a run's metrics into as few as can be.
struct db;
int record_compact(struct db *db, uint64_t run, struct error *e);

// .. and one log line, at a sequence number that the caller has taken from the run's row.
int record_add_line(struct db *db, uint64_t run, uint64_t seq, uint32_t attempt, int64_t time_ms, const char *line,
                    struct error *e);

#endif

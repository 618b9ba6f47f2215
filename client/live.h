// A run as it goes, for people: log lines and evaluations as lines on stdout; on a terminal one line below them,
// redrawn, with epoch, step, losses, clips per second and time left; elsewhere that line every ten seconds, to stderr.
#ifndef ISLR_CLIENT_LIVE_H
#define ISLR_CLIENT_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "client/follower.h"
#include "client/spark.h"

enum { LIVE_SAMPLES = 32 };

struct live {
    uint64_t run;
    bool quiet; // no lines on stdout (--json): only the line on stderr
    // what is known
    uint64_t step, steps;
    double epoch;
    uint32_t epochs;
    double loss, distilled, clips_per_second; // NAN: not yet
    Islr__RunState state;
    char doing[32];
    struct {
        int64_t time_ms; // by the worker's clock
        uint64_t step;
    } samples[LIVE_SAMPLES]; // a ring of the last steps, a second or more apart
    unsigned sample_count;
    struct spark curve; // of the student's loss
    // what is drawn
    bool terminal, drawn;
    char line[256]; // drawn last
    double shown;   // clock_seconds()
};

void live_start(struct live *l, uint64_t run, bool quiet);
void live_clear(struct live *l); // takes the line away
struct follower_events live_events(struct live *l);

// The line without its newline, at most size - 1 bytes.
void live_format(const struct live *l, char *text, size_t size);

#endif

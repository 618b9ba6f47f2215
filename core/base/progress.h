// Progress of a long piece of work, to stderr: on a terminal one line that is redrawn ("prepare [=====>    ] 1200/4266
// 512 clips/s, 6.0 s left"); elsewhere (files, batch systems) a plain line every ten seconds and one at the end.
#ifndef ISLR_BASE_PROGRESS_H
#define ISLR_BASE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

// Zero-initialise through progress_start(). Not for several threads at once.
struct progress {
    FILE *stream;
    bool terminal;
    const char *what, *unit; // "prepare", "clips"
    size_t total, done;
    double started, shown; // clock_seconds()
    bool drawn;            // there is a line on the terminal to redraw or clear
};

// Draws to `stream` (NULL: nowhere). `what` and `unit` must outlive p.
void progress_start(struct progress *p, FILE *stream, const char *what, const char *unit, size_t total);
void progress_update(struct progress *p, size_t done); // cheap: draws a few times a second at most
void progress_clear(struct progress *p);               // takes the bar away, so that another line may be printed
void progress_finish(struct progress *p);              // the last line: what was done, how fast, in what time

// The bar's line, without a newline, at most `size` - 1 characters: what progress_update() draws on a terminal of
// `columns` columns after `seconds`.
void progress_format(const struct progress *p, double seconds, int columns, char *text, size_t size);

#endif

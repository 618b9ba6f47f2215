// Curves: on a terminal and as SVG. Zero-initialise a chart; chart_free() at the end.
#ifndef ISLR_CLIENT_CHART_H
#define ISLR_CLIENT_CHART_H

#include <stddef.h>
#include <stdio.h>

#include "core/base/memory.h"

struct chart_series {
    char *label;
    double *x, *y; // x ascending
    size_t count, capacity;
};

struct chart {
    char *title;         // what y is
    const char *x_title; // "step"
    struct chart_series *series;
    size_t count;
};

// The series of that label, made if it is not there; it moves when others are made.
struct chart_series *chart_series(struct chart *c, const char *label);
void chart_add(struct chart_series *s, double x, double y); // values that are not finite are left out
int chart_is_empty(const struct chart *c);
void chart_free(struct chart *c);

// An axis that holds low..high and begins and ends at a tick; ticks are 1, 2 or 5 times a power of ten apart.
struct chart_axis {
    double low, high, step;
    int ticks; // [ticks]: low + i * step
    int decimals;
};
struct chart_axis chart_axis(double low, double high, int ticks_wanted);
struct chart_axis chart_x_axis(const struct chart *c, int ticks_wanted);
struct chart_axis chart_y_axis(const struct chart *c, int ticks_wanted);
void chart_tick(const struct chart_axis *a, int i, char text[32]);

// The series' mean in `bins` equal parts of low..high: out [bins], NAN where it has no point.
void chart_bins(const struct chart_series *s, double low, double high, int bins, double *out);

// Characters: `width` columns, `height` lines of curves; a letter for each series.
void chart_print(const struct chart *c, int width, int height, FILE *stream);

// One SVG document with the charts below each other.
void chart_svg(const struct chart *charts, size_t count, struct strbuf *out);

#endif

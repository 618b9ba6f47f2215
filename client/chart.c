// Curves and their axes: see chart.h.
#include "client/chart.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct chart_series *chart_series(struct chart *c, const char *label)
{
    for (size_t i = 0; i < c->count; i++)
        if (!strcmp(c->series[i].label, label))
            return &c->series[i];
    c->series = xrealloc(c->series, c->count + 1, sizeof *c->series);
    c->series[c->count] = (struct chart_series){.label = xstrdup(label)};
    return &c->series[c->count++];
}

void chart_add(struct chart_series *s, double x, double y)
{
    if (!isfinite(x) || !isfinite(y))
        return;
    if (s->count == s->capacity) {
        s->capacity = s->capacity ? 2 * s->capacity : 256;
        s->x = xrealloc(s->x, s->capacity, sizeof *s->x);
        s->y = xrealloc(s->y, s->capacity, sizeof *s->y);
    }
    // An attempt that went on from a resume point tells some steps again: the newer figures stay.
    while (s->count && s->x[s->count - 1] >= x)
        s->count--;
    s->x[s->count] = x;
    s->y[s->count++] = y;
}

int chart_is_empty(const struct chart *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->series[i].count)
            return 0;
    return 1;
}

void chart_free(struct chart *c)
{
    for (size_t i = 0; i < c->count; i++) {
        free(c->series[i].label);
        free(c->series[i].x);
        free(c->series[i].y);
    }
    free(c->series);
    free(c->title);
    memset(c, 0, sizeof *c);
}

// ---- axes -----------------------------------------------------------------------------------------------------------

struct chart_axis chart_axis(double low, double high, int ticks_wanted)
{
    if (high <= low) { // one value: room around it
        double room = low != 0 ? fabs(low) * 0.1 : 1;
        low -= room;
        high += room;
    }
    double rough = (high - low) / ticks_wanted, power = pow(10, floor(log10(rough))), part = rough / power;
    double step = power * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10);
    struct chart_axis a = {.low = floor(low / step + 1e-9) * step, .step = step};
    a.ticks = (int)ceil((high - a.low) / step - 1e-9) + 1;
    a.high = a.low + (a.ticks - 1) * step;
    int decimals = (int)ceil(-log10(step) - 1e-9);
    a.decimals = decimals > 0 ? decimals : 0;
    return a;
}

static struct chart_axis axis_over(const struct chart *c, int of_y, int ticks_wanted)
{
    double low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < c->count; i++) {
        const double *v = of_y ? c->series[i].y : c->series[i].x;
        for (size_t k = 0; k < c->series[i].count; k++) {
            low = fmin(low, v[k]);
            high = fmax(high, v[k]);
        }
    }
    return low <= high ? chart_axis(low, high, ticks_wanted) : chart_axis(0, 1, ticks_wanted);
}

struct chart_axis chart_x_axis(const struct chart *c, int ticks_wanted)
{
    return axis_over(c, 0, ticks_wanted);
}

struct chart_axis chart_y_axis(const struct chart *c, int ticks_wanted)
{
    return axis_over(c, 1, ticks_wanted);
}

void chart_tick(const struct chart_axis *a, int i, char text[32])
{
    double v = a->low + i * a->step;
    if (fabs(v) < a->step / 2)
        v = 0; // no "-0"
    if (a->decimals > 6 || fabs(v) >= 1e7)
        snprintf(text, 32, "%.3g", v);
    else
        snprintf(text, 32, "%.*f", a->decimals, v);
}

void chart_bins(const struct chart_series *s, double low, double high, int bins, double *out)
{
    int *counts = xcalloc((size_t)bins, sizeof *counts);
    memset(out, 0, (size_t)bins * sizeof *out);
    for (size_t k = 0; k < s->count; k++) {
        int at = (int)((s->x[k] - low) / (high - low) * bins);
        at = at < 0 ? 0 : at >= bins ? bins - 1 : at;
        out[at] += s->y[k];
        counts[at]++;
    }
    for (int i = 0; i < bins; i++)
        out[i] = counts[i] ? out[i] / counts[i] : NAN;
    free(counts);
}

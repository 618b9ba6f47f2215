// Curves in characters: see chart.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "client/chart.h"
#include "client/text.h"

enum { LETTERS = 26 };

static char mark_of(const struct chart *c, size_t i)
{
    return c->count == 1 ? '*' : (char)('a' + i % LETTERS);
}

// Columns between two points get the line between them.
static void fill_gaps(double *bins, int count)
{
    int last = -1;
    for (int i = 0; i < count; i++) {
        if (isnan(bins[i]))
            continue;
        for (int k = last + 1; last >= 0 && k < i; k++)
            bins[k] = bins[last] + (bins[i] - bins[last]) * (k - last) / (i - last);
        last = i;
    }
}

static void draw(const struct chart *c, char *cells, int width, int height, const struct chart_axis *x,
                 const struct chart_axis *y)
{
    double *bins = xcalloc((size_t)width, sizeof *bins);
    for (size_t i = 0; i < c->count; i++) {
        chart_bins(&c->series[i], x->low, x->high, width, bins);
        fill_gaps(bins, width);
        int before = -1;
        for (int column = 0; column < width; column++) {
            if (isnan(bins[column]))
                continue;
            int line = (int)lround((bins[column] - y->low) / (y->high - y->low) * (height - 1));
            int from = before < 0 ? line : before < line ? before + 1 : before - 1; // steep parts are drawn through
            for (int at = line; before != line && at != from; at += from > line ? 1 : -1)
                cells[(height - 1 - at) * width + column] = mark_of(c, i);
            cells[(height - 1 - line) * width + column] = mark_of(c, i);
            before = line;
        }
    }
    free(bins);
}

// The tick whose line this is, -1: none.
static int tick_at(const struct chart_axis *y, int line, int height)
{
    for (int i = 0; i < y->ticks; i++)
        if (height - 1 - lround((double)i / (y->ticks - 1) * (height - 1)) == line)
            return i;
    return -1;
}

static void print_x_axis(const struct chart *c, const struct chart_axis *x, int margin, int width, FILE *stream)
{
    char text[32], *labels = xmalloc((size_t)width + 34);
    int end = 0;
    memset(labels, ' ', (size_t)width + 33);
    fprintf(stream, "%*s +", margin, "");
    for (int i = 0; i < width; i++)
        fputc('-', stream);
    fputc('\n', stream);
    for (int i = 0; i < x->ticks; i++) {
        int at = (int)lround((double)i / (x->ticks - 1) * (width - 1));
        chart_tick(x, i, text);
        int n = (int)strlen(text), from = i ? at - n / 2 : 0;
        if (from + n > width + 1)
            from = width + 1 - n;
        if (i && from <= end)
            continue; // no room beside the one before
        memcpy(labels + from, text, (size_t)n);
        end = from + n;
    }
    labels[end] = 0;
    fprintf(stream, "%*s  %s  %s\n", margin, "", labels, c->x_title);
    free(labels);
}

void chart_print(const struct chart *c, int width, int height, FILE *stream)
{
    struct chart_axis x = chart_x_axis(c, width / 14 + 1), y = chart_y_axis(c, height / 3);
    char text[32], *cells = xmalloc((size_t)(width * height));
    int margin = 0;
    memset(cells, ' ', (size_t)(width * height));
    draw(c, cells, width, height, &x, &y);
    for (int i = 0; i < y.ticks; i++) {
        chart_tick(&y, i, text);
        margin = (int)strlen(text) > margin ? (int)strlen(text) : margin;
    }
    fprintf(stream, "%*s  ", margin, "");
    text_print(stream, c->title);
    fputc('\n', stream);
    for (int line = 0; line < height; line++) {
        int tick = tick_at(&y, line, height), end = width;
        *text = 0;
        if (tick >= 0)
            chart_tick(&y, tick, text);
        while (end && cells[line * width + end - 1] == ' ')
            end--;
        fprintf(stream, "%*s %c%.*s\n", margin, text, tick >= 0 ? '+' : '|', end, cells + line * width);
    }
    print_x_axis(c, &x, margin, width, stream);
    for (size_t i = 0; i < c->count; i++) {
        fprintf(stream, "%*s  %c ", margin, "", mark_of(c, i));
        text_print(stream, c->series[i].label);
        if (c->series[i].count)
            fprintf(stream, "  (last %.6g)", c->series[i].y[c->series[i].count - 1]);
        else
            fputs("  (no values)", stream);
        fputc('\n', stream);
    }
    free(cells);
}

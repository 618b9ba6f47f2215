// Curves as SVG 1.1: see chart.h. Colours are those of Okabe and Ito, which people who do not tell red from green tell
// apart too; from the ninth series on they are dashed.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "client/chart.h"

enum {
    WIDTH = 900,
    LEFT = 80,
    RIGHT = 30,
    TOP = 50,
    PLOT_HEIGHT = 320,
    BELOW = 60, // tick labels and the axis' title
    LEGEND_LINE = 20,
    POINTS_MAX = 1200, // of one curve: more are averaged
    DOTS_MAX = 60      // curves of so few points show them
};

static const char *const colours[] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                      "#E69F00", "#56B4E9", "#7A5195", "#444444"};
enum { COLOURS = sizeof colours / sizeof *colours };

static void add_text(struct strbuf *b, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '&' || c == '<' || c == '>' || c == '"')
            strbuf_printf(b, "&#%d;", c);
        else if (c < 0x20 || c == 0x7f)
            strbuf_add(b, "?", 1); // XML has no such characters
        else
            strbuf_add(b, text, 1);
    }
}

static void add_label(struct strbuf *b, double x, double y, const char *anchor, const char *extra, const char *text)
{
    strbuf_printf(b, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"%s>", x, y, anchor, extra);
    add_text(b, text);
    strbuf_printf(b, "</text>\n");
}

struct frame {
    const struct chart *chart;
    struct chart_axis x, y;
    double top; // of the plot
};

static double at_x(const struct frame *f, double v)
{
    return LEFT + (v - f->x.low) / (f->x.high - f->x.low) * (WIDTH - LEFT - RIGHT);
}

static double at_y(const struct frame *f, double v)
{
    return f->top + PLOT_HEIGHT - (v - f->y.low) / (f->y.high - f->y.low) * PLOT_HEIGHT;
}

static void add_axes(struct strbuf *b, const struct frame *f)
{
    char text[32];
    double bottom = f->top + PLOT_HEIGHT;
    for (int i = 0; i < f->y.ticks; i++) {
        double y = at_y(f, f->y.low + i * f->y.step);
        strbuf_printf(b, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#dddddd\"/>\n", LEFT, y,
                      WIDTH - RIGHT, y);
        chart_tick(&f->y, i, text);
        add_label(b, LEFT - 8, y + 4, "end", "", text);
    }
    for (int i = 0; i < f->x.ticks; i++) {
        double x = at_x(f, f->x.low + i * f->x.step);
        strbuf_printf(b, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#333333\"/>\n", x, bottom, x,
                      bottom + 5);
        chart_tick(&f->x, i, text);
        add_label(b, x, bottom + 20, "middle", "", text);
    }
    strbuf_printf(b, "<path d=\"M%d %.1fV%.1fH%d\" fill=\"none\" stroke=\"#333333\"/>\n", LEFT, f->top, bottom,
                  WIDTH - RIGHT);
    add_label(b, (LEFT + WIDTH - RIGHT) / 2.0, bottom + 42, "middle", "", f->chart->x_title);
    add_label(b, LEFT, f->top - 18, "start", " font-size=\"17\" font-weight=\"bold\"", f->chart->title);
}

static void add_style(struct strbuf *b, size_t i)
{
    strbuf_printf(b, "stroke=\"%s\" stroke-width=\"1.8\"", colours[i % COLOURS]);
    if (i >= COLOURS)
        strbuf_printf(b, " stroke-dasharray=\"%zu 3\"", 3 + 3 * (i / COLOURS));
}

static void add_points(struct strbuf *b, const struct frame *f, const struct chart_series *s)
{
    if (s->count <= POINTS_MAX) {
        for (size_t k = 0; k < s->count; k++)
            strbuf_printf(b, "%s%.1f,%.1f", k ? " " : "", at_x(f, s->x[k]), at_y(f, s->y[k]));
        return;
    }
    double *bins = xcalloc(POINTS_MAX, sizeof *bins);
    const char *blank = "";
    chart_bins(s, f->x.low, f->x.high, POINTS_MAX, bins);
    for (int k = 0; k < POINTS_MAX; k++) {
        if (isnan(bins[k]))
            continue;
        double x = f->x.low + (k + 0.5) / POINTS_MAX * (f->x.high - f->x.low);
        strbuf_printf(b, "%s%.1f,%.1f", blank, at_x(f, x), at_y(f, bins[k]));
        blank = " ";
    }
    free(bins);
}

static void add_curves(struct strbuf *b, const struct frame *f)
{
    for (size_t i = 0; i < f->chart->count; i++) {
        const struct chart_series *s = &f->chart->series[i];
        strbuf_printf(b, "<polyline fill=\"none\" stroke-linejoin=\"round\" ");
        add_style(b, i);
        strbuf_printf(b, " points=\"");
        add_points(b, f, s);
        strbuf_printf(b, "\"/>\n");
        for (size_t k = 0; k < s->count && s->count <= DOTS_MAX; k++)
            strbuf_printf(b, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.6\" fill=\"%s\"/>\n", at_x(f, s->x[k]),
                          at_y(f, s->y[k]), colours[i % COLOURS]);
    }
}

static void add_legend(struct strbuf *b, const struct frame *f)
{
    for (size_t i = 0; i < f->chart->count; i++) {
        const struct chart_series *s = &f->chart->series[i];
        double y = f->top + PLOT_HEIGHT + BELOW + LEGEND_LINE * (double)i;
        char value[64] = "no values";
        if (s->count)
            snprintf(value, sizeof value, "last %.6g", s->y[s->count - 1]);
        strbuf_printf(b, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" ", LEFT, y, LEFT + 34, y);
        add_style(b, i);
        strbuf_printf(b, "/>\n");
        add_label(b, LEFT + 44, y + 4, "start", "", s->label);
        add_label(b, WIDTH - RIGHT, y + 4, "end", " fill=\"#555555\"", value);
    }
}

static double height_of(const struct chart *c)
{
    return TOP + PLOT_HEIGHT + BELOW + LEGEND_LINE * (double)c->count + 16;
}

void chart_svg(const struct chart *charts, size_t count, struct strbuf *out)
{
    double height = 0, top = 0;
    for (size_t i = 0; i < count; i++)
        height += height_of(&charts[i]);
    strbuf_printf(
        out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" version=\"1.1\" "
        "width=\"%d\" height=\"%.0f\" viewBox=\"0 0 %d %.0f\" font-family=\"sans-serif\" font-size=\"13\" "
        "fill=\"#222222\">\n<title>",
        WIDTH, height, WIDTH, height);
    for (size_t i = 0; i < count; i++) {
        add_text(out, i ? ", " : "");
        add_text(out, charts[i].title);
    }
    strbuf_printf(out, "</title>\n<rect width=\"%d\" height=\"%.0f\" fill=\"#ffffff\"/>\n", WIDTH, height);
    for (size_t i = 0; i < count; i++) {
        struct frame f = {&charts[i], chart_x_axis(&charts[i], 8), chart_y_axis(&charts[i], 6), top + TOP};
        add_axes(out, &f);
        add_curves(out, &f);
        add_legend(out, &f);
        top += height_of(&charts[i]);
    }
    strbuf_printf(out, "</svg>\n");
}

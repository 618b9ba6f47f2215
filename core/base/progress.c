// Progress lines: see progress.h.
#include "core/base/progress.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/base/clock.h"

static const double REDRAW_SECONDS = 0.2, LINE_SECONDS = 10;

void progress_start(struct progress *p, FILE *stream, const char *what, const char *unit, size_t total)
{
    *p = (struct progress){.stream = stream, .what = what, .unit = unit, .total = total};
    p->terminal = stream && isatty(fileno(stream));
    p->started = clock_seconds();
    p->shown = p->terminal ? 0 : p->started;
}

static int count_columns(const struct progress *p)
{
    struct winsize size;
    if (ioctl(fileno(p->stream), TIOCGWINSZ, &size) || !size.ws_col)
        return 80;
    return size.ws_col;
}

// "1200/4266 clips, 512 clips/s, 6.0 s left"
static void format_figures(const struct progress *p, double seconds, char *text, size_t size)
{
    double rate = seconds > 0 ? (double)p->done / seconds : 0;
    char left[32] = "?";
    if (rate > 0 && p->total >= p->done)
        clock_format((double)(p->total - p->done) / rate, left);
    snprintf(text, size, "%zu/%zu %s, %.*f %s/s, %s left", p->done, p->total, p->unit, rate < 10 ? 1 : 0, rate, p->unit,
             left);
}

void progress_format(const struct progress *p, double seconds, int columns, char *text, size_t size)
{
    char figures[160];
    format_figures(p, seconds, figures, sizeof figures);
    int fixed = (int)(strlen(p->what) + strlen(figures)) + 5; // " [", "] ", one free column
    int width = columns - fixed;
    if (width > 40)
        width = 40;
    if (width < 4) { // no room for a bar
        snprintf(text, size, "%.*s", columns > 1 ? columns - 1 : 1, figures);
        return;
    }
    char bar[41];
    int full = p->total ? (int)((double)p->done / (double)p->total * width) : width;
    for (int i = 0; i < width; i++)
        bar[i] = i < full ? '=' : i == full ? '>' : ' ';
    bar[width] = 0;
    snprintf(text, size, "%s [%s] %s", p->what, bar, figures);
}

void progress_update(struct progress *p, size_t done)
{
    p->done = done;
    double now = clock_seconds();
    if (!p->stream || now - p->shown < (p->terminal ? REDRAW_SECONDS : LINE_SECONDS))
        return;
    p->shown = now;
    char text[256];
    if (p->terminal) {
        progress_format(p, now - p->started, count_columns(p), text, sizeof text);
        fprintf(p->stream, "\r%s\033[K", text);
        p->drawn = true;
    } else {
        format_figures(p, now - p->started, text, sizeof text);
        fprintf(p->stream, "%s: %s\n", p->what, text);
    }
    fflush(p->stream);
}

void progress_clear(struct progress *p)
{
    if (!p->drawn)
        return;
    fputs("\r\033[K", p->stream);
    fflush(p->stream);
    p->drawn = false;
    p->shown = 0; // draw again at the next update
}

void progress_finish(struct progress *p)
{
    if (!p->stream)
        return;
    progress_clear(p);
    double seconds = clock_seconds() - p->started;
    char spent[32];
    fprintf(p->stream, "%s: %zu %s in %s (%.0f %s/s)\n", p->what, p->done, p->unit, clock_format(seconds, spent),
            seconds > 0 ? (double)p->done / seconds : 0, p->unit);
    fflush(p->stream);
}

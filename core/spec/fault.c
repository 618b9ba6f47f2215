// Faults of a job: see fault.h.
#include "core/spec/fault.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/spec/emit.h"

void faults_add(struct faults *f, const char *source, int line, int column, const char *field, const char *allowed,
                const char *nearest, const char *problem, ...)
{
    if (f->count == FAULTS_MAX) {
        f->dropped++;
        return;
    }
    struct strbuf text = {0};
    char part[1024]; // a fault that quotes more than this is cut
    va_list args;
    va_start(args, problem);
    int n = vsnprintf(part, sizeof part, problem, args);
    va_end(args);
    strbuf_printf(&text, "%s%s", part, n >= (int)sizeof part ? "..." : "");
    f->items = xrealloc(f->items, f->count + 1, sizeof *f->items);
    f->items[f->count++] = (struct fault){.source = xstrdup(source ? source : ""),
                                          .line = line,
                                          .column = column,
                                          .field = xprintf("%.200s", field ? field : ""),
                                          .problem = text.text,
                                          .allowed = xstrdup(allowed ? allowed : ""),
                                          .nearest = nearest ? xstrdup(nearest) : NULL};
}

static size_t source_order(const char *source, const char *const *sources, size_t count)
{
    size_t i = 0;
    while (i < count && strcmp(source, sources[i]))
        i++;
    return i;
}

// Lines from 1 on ascend; 0 (none) comes last.
static int line_order(int a, int b)
{
    unsigned x = a ? (unsigned)a : ~0u, y = b ? (unsigned)b : ~0u;
    return x < y ? -1 : x > y;
}

void faults_sort(struct faults *f, const char *const *sources, size_t source_count)
{
    size_t order[FAULTS_MAX];
    for (size_t i = 0; i < f->count; i++)
        order[i] = source_order(f->items[i].source, sources, source_count);
    // Insertion: stable, and there are at most FAULTS_MAX.
    for (size_t i = 1; i < f->count; i++) {
        struct fault item = f->items[i];
        size_t rank = order[i], j = i;
        for (; j > 0; j--) {
            const struct fault *p = &f->items[j - 1];
            int c = order[j - 1] < rank ? -1 : order[j - 1] > rank;
            c = c ? c : line_order(p->line, item.line);
            c = c ? c : line_order(p->column, item.column);
            if (c <= 0)
                break;
            f->items[j] = f->items[j - 1];
            order[j] = order[j - 1];
        }
        f->items[j] = item;
        order[j] = rank;
    }
}

static void add_text(struct strbuf *b, const struct fault *f)
{
    if (*f->source)
        strbuf_printf(b, "%s:", f->source);
    if (f->line)
        strbuf_printf(b, "%d:", f->line);
    if (*f->field)
        strbuf_printf(b, "%s%s:", b->length && b->text[b->length - 1] == ':' ? " " : "", f->field);
    strbuf_printf(b, " %s", f->problem);
    if (*f->allowed)
        strbuf_printf(b, "; allowed: %s", f->allowed);
    if (f->nearest)
        strbuf_printf(b, "; nearest: %s", f->nearest);
    strbuf_printf(b, "\n");
}

char *faults_text(const struct faults *f)
{
    struct strbuf b = {0};
    strbuf_add(&b, "", 0);
    for (size_t i = 0; i < f->count; i++)
        add_text(&b, &f->items[i]);
    if (f->dropped)
        strbuf_printf(&b, "and %zu more\n", f->dropped);
    return b.text;
}

void faults_print(const struct faults *f, FILE *stream)
{
    char *text = faults_text(f);
    fputs(text, stream);
    free(text);
}

char *faults_json(const struct faults *f)
{
    struct strbuf b = {0};
    strbuf_printf(&b, "[");
    for (size_t i = 0; i < f->count; i++) {
        const struct fault *x = &f->items[i];
        strbuf_printf(&b, "%s{\"source\":", i ? "," : "");
        emit_string(&b, x->source);
        strbuf_printf(&b, ",\"line\":%d,\"column\":%d,\"field\":", x->line, x->column);
        emit_string(&b, x->field);
        strbuf_printf(&b, ",\"problem\":");
        emit_string(&b, x->problem);
        strbuf_printf(&b, ",\"allowed\":");
        emit_string(&b, x->allowed);
        strbuf_printf(&b, ",\"nearest\":");
        if (x->nearest)
            emit_string(&b, x->nearest);
        else
            strbuf_printf(&b, "null");
        strbuf_printf(&b, "}");
    }
    strbuf_printf(&b, "]");
    return b.text;
}

int faults_to_error(const struct faults *f, struct error *e)
{
    char *text = faults_text(f);
    size_t n = strlen(text);
    if (n && text[n - 1] == '\n')
        text[n - 1] = 0;
    error_set(e, ERR_INVALID, "%s", text);
    free(text);
    return -1;
}

void faults_free(struct faults *f)
{
    for (size_t i = 0; i < f->count; i++) {
        struct fault *x = &f->items[i];
        free(x->source);
        free(x->field);
        free(x->problem);
        free(x->allowed);
        free(x->nearest);
    }
    free(f->items);
    *f = (struct faults){0};
}

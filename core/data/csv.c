// CSV: see csv.h.
#include "core/data/csv.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/memory.h"

static const size_t MAX_BYTES = (size_t)1 << 30;

// Reads one field from *p on, unquotes it in place and moves *p behind it, to its comma, line end or the file's end.
// NULL: malformed.
static char *read_field(struct csv *c, char **p, struct error *e)
{
    char *in = *p, *out = in, *field = in;
    if (*in != '"') {
        while (*in && *in != ',' && *in != '\n' && *in != '"' && !(in[0] == '\r' && in[1] == '\n'))
            in++;
        if (*in == '"') {
            error_set(e, ERR_INVALID, "%s, line %d: a quote inside an unquoted field", c->name, c->line);
            return NULL;
        }
        *p = in;
        return field;
    }
    for (in++; !(in[0] == '"' && in[1] != '"'); *out++ = *in++) {
        if (!*in) {
            error_set(e, ERR_INVALID, "%s, line %d: a quoted field has no end", c->name, c->line);
            return NULL;
        }
        in += *in == '"'; // the first of two
        c->next_line += *in == '\n';
    }
    *p = in + 1;
    if (in[1] && in[1] != ',' && in[1] != '\n' && !(in[1] == '\r' && in[2] == '\n')) {
        error_set(e, ERR_INVALID, "%s, line %d: text behind a quoted field", c->name, c->line);
        return NULL;
    }
    *out = 0; // over the closing quote at the latest: what ends the field is untouched
    return field;
}

// Reads a record of any number of fields; 0 at the end of the file.
static int read_record(struct csv *c, struct error *e)
{
    char *p = c->next;
    while (*p == '\n' || (p[0] == '\r' && p[1] == '\n')) {
        p += *p == '\r' ? 2 : 1;
        c->next_line++;
    }
    c->line = c->next_line;
    c->count = 0;
    if (!*p)
        return 0;
    for (;;) {
        if (c->count == CSV_MAX_FIELDS)
            return error_set(e, ERR_INVALID, "%s, line %d: more than %d fields", c->name, c->line, CSV_MAX_FIELDS);
        char *field = read_field(c, &p, e);
        if (!field)
            return -1;
        c->field[c->count++] = field;
        char end = *p;
        bool crlf = end == '\r';
        *p = 0;
        p += end ? crlf ? 2 : 1 : 0;
        if (end != ',') {
            c->next_line += end != 0;
            c->next = p;
            return 1;
        }
    }
}

int csv_open(struct csv *c, const char *path, const char *name, struct error *e)
{
    *c = (struct csv){.name = name, .next_line = 1};
    size_t size;
    if (file_read(path, MAX_BYTES, &c->data, &size, e))
        return -1;
    c->hash = hash_memory(c->data, size);
    c->next = c->data;
    if (size >= 3 && !memcmp(c->data, "\xEF\xBB\xBF", 3))
        c->next += 3;
    int rc = -1;
    if (strlen(c->data) != size) // the terminator is not part of the file
        error_set(e, ERR_INVALID, "%s is not a text file: it holds a zero byte", name);
    else
        rc = read_record(c, e);
    if (rc > 0)
        return 0;
    if (!rc)
        error_set(e, ERR_INVALID, "%s is empty", name);
    csv_close(c);
    return -1;
}

void csv_close(struct csv *c)
{
    free(c->data);
    c->data = NULL;
}

int csv_columns(const struct csv *c, int count, const char *const *names, int *at, struct error *e)
{
    struct strbuf missing = {0};
    for (int i = 0; i < count; i++) {
        at[i] = -1;
        for (int k = c->count - 1; k >= 0; k--)
            if (!strcmp(c->field[k], names[i]))
                at[i] = k;
        if (at[i] < 0)
            strbuf_printf(&missing, "%s%s", missing.length ? ", " : "", names[i]);
    }
    int rc = 0;
    if (missing.length)
        rc = error_set(e, ERR_INVALID, "%s, line %d: the header lacks %s", c->name, c->line, missing.text);
    free(missing.text);
    return rc;
}

int csv_next(struct csv *c, struct error *e)
{
    int wanted = c->count;
    int rc = read_record(c, e);
    if (rc > 0 && c->count != wanted)
        rc = error_set(e, ERR_INVALID, "%s, line %d: %d fields where the header has %d", c->name, c->line, c->count,
                       wanted);
    c->count = wanted;
    return rc;
}

int csv_integer(const char *field, int64_t *value)
{
    char *end;
    errno = 0;
    long long v = strtoll(field, &end, 10);
    if (end == field || *end || errno || (*field != '-' && (*field < '0' || *field > '9')))
        return -1;
    *value = v;
    return 0;
}

// Origins of a job's values: see origin.h.
#include "core/spec/origin.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

void origins_add(struct origins *o, const char *field, const char *source, int line, int column, enum origin_kind kind)
{
    if (o->count == o->capacity) {
        o->capacity = o->capacity ? 2 * o->capacity : 64;
        o->items = xrealloc(o->items, o->capacity, sizeof *o->items);
    }
    o->items[o->count++] = (struct origin){xstrdup(field), source, line, column, kind};
}

// Whether `outer` is `field` or what it is in: "a.b[1]", "a.b", "a" and "" for "a.b[1]".
static int contains(const char *outer, const char *field)
{
    size_t n = strlen(outer);
    if (strncmp(outer, field, n))
        return 0;
    return n == 0 || field[n] == 0 || field[n] == '.' || field[n] == '[';
}

const struct origin *origins_find(const struct origins *o, const char *field)
{
    const struct origin *section = NULL;
    for (size_t i = o->count; i-- > 0;) {
        const struct origin *x = &o->items[i];
        if (!contains(x->field, field))
            continue;
        if (x->kind != ORIGIN_SECTION)
            return x;
        if (!section || strlen(x->field) > strlen(section->field))
            section = x;
    }
    return section;
}

bool origins_bad(const struct origins *o, const char *field)
{
    const struct origin *own = origins_find(o, field);
    if (own && own->kind == ORIGIN_BAD)
        return true;
    for (size_t i = 0; i < o->count; i++) {
        const struct origin *x = &o->items[i];
        if (x->kind == ORIGIN_BAD && contains(field, x->field) && origins_find(o, x->field) == x)
            return true;
    }
    return false;
}

void origins_free(struct origins *o)
{
    for (size_t i = 0; i < o->count; i++)
        free(o->items[i].field);
    free(o->items);
    *o = (struct origins){0};
}

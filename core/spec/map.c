// Trees onto jobs: see map.h.
#include "core/spec/map.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/nearest.h"
#include "core/spec/field.h"
#include "core/spec/bounds.h"

enum { FIELDS_MAX = 64 };

static void set_origin(const struct mapper *m, const struct node *n, const char *path, enum origin_kind kind)
{
    origins_add(m->origins, path, m->source, n->line, n->column, kind);
}

// ---- one value ----------------------------------------------------------------------------------------------------

// What a value of the wrong type is called in a fault; free() it.
static char *describe(const struct node *n)
{
    if (n->kind == NODE_LIST)
        return xprintf("a list of %zu", n->count);
    if (n->kind == NODE_SCALAR)
        return xprintf(n->quoted ? "the text \"%.200s\"" : "'%.200s'", n->text);
    return xstrdup(n->kind == NODE_MAP ? "a map" : "nothing");
}

static int fault_type(const struct mapper *m, const struct node *n, const ProtobufCFieldDescriptor *f, const char *path,
                      const char *nearest)
{
    char *given = describe(n), *allowed = bound_text(f, path);
    faults_add(m->faults, m->source, n->line, n->column, path, allowed, nearest, "%s is given", given);
    free(given);
    free(allowed);
    set_origin(m, n, path, ORIGIN_BAD);
    return -1;
}

static int parse_uint(const char *text, uint64_t max, uint64_t *out)
{
    char *end;
    if (*text < '0' || *text > '9')
        return -1;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (errno || *end || v > max)
        return -1;
    *out = v;
    return 0;
}

// A finite decimal number: "3e-4", "1", ".5"; neither hexadecimal nor infinite, nor too large or small for a double.
static int parse_double(const char *text, double *out)
{
    char *end;
    if (!*text || strspn(text, "0123456789+-.eE") != strlen(text))
        return -1;
    errno = 0;
    double v = strtod(text, &end);
    if (errno || *end || end == text || !isfinite(v))
        return -1;
    *out = v;
    return 0;
}

static int set_uint(const struct node *n, const ProtobufCFieldDescriptor *f, void *out)
{
    uint64_t v;
    if (n->kind != NODE_SCALAR || n->quoted ||
        parse_uint(n->text, f->type == PROTOBUF_C_TYPE_UINT32 ? UINT32_MAX : UINT64_MAX, &v))
        return -1;
    if (f->type == PROTOBUF_C_TYPE_UINT32)
        *(uint32_t *)out = (uint32_t)v;
    else
        *(uint64_t *)out = v;
    return 0;
}

static int set_bool(const struct node *n, void *out)
{
    if (n->kind != NODE_SCALAR || n->quoted || (strcmp(n->text, "true") && strcmp(n->text, "false")))
        return -1;
    *(protobuf_c_boolean *)out = n->text[0] == 't';
    return 0;
}

// *nearest: a name that was probably meant, to free(), or NULL.
static int set_enum(const struct node *n, const ProtobufCEnumDescriptor *d, void *out, char **nearest)
{
    char *names[FIELDS_MAX] = {NULL};
    int rc = -1;
    unsigned count = d->n_values < FIELDS_MAX ? d->n_values : FIELDS_MAX;
    for (unsigned i = 0; i < count; i++) {
        names[i] = field_enum_name(d, d->values[i].value);
        if (n->kind == NODE_SCALAR && !strcmp(names[i], n->text)) {
            *(int *)out = d->values[i].value;
            rc = 0;
        }
    }
    const char *near = rc && n->kind == NODE_SCALAR ? nearest_name(n->text, (const char *const *)names, count) : NULL;
    *nearest = near ? xstrdup(near) : NULL;
    for (unsigned i = 0; i < count; i++)
        free(names[i]);
    return rc;
}

// In JSON a text is in quotes (but a fold's number need not be); in YAML any scalar will do.
static int set_string(const struct node *n, const ProtobufCFieldDescriptor *f, const char *path, char **out)
{
    if (n->kind != NODE_SCALAR || (n->json && !n->quoted && strcmp(path, "data.fold")))
        return -1;
    field_set_string(f, out, n->text);
    return 0;
}

// Sets the value at `out`, of field `f`. The value stays as it was where there is a fault.
static int set_value(const struct mapper *m, const struct node *n, const ProtobufCFieldDescriptor *f, const char *path,
                     void *out)
{
    int rc;
    char *nearest = NULL;
    switch (f->type) {
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_UINT64:
        rc = set_uint(n, f, out);
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        rc = n->kind != NODE_SCALAR || n->quoted ? -1 : parse_double(n->text, out);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        rc = set_bool(n, out);
        break;
    case PROTOBUF_C_TYPE_ENUM:
        rc = set_enum(n, f->descriptor, out, &nearest);
        break;
    default:
        rc = set_string(n, f, path, out);
    }
    if (rc)
        fault_type(m, n, f, path, nearest);
    else
        set_origin(m, n, path, ORIGIN_VALUE);
    free(nearest);
    return rc;
}

// ---- fields -------------------------------------------------------------------------------------------------------

static void map_fields(const struct mapper *m, const struct node *map, ProtobufCMessage *message, const char *path);

static void map_list(const struct mapper *m, const struct node *n, ProtobufCMessage *message,
                     const ProtobufCFieldDescriptor *f, const char *path)
{
    if (n->kind != NODE_LIST || n->count > BOUND_LIST_MAX) {
        char *given = describe(n), *value = bound_text(f, path);
        char *allowed = xprintf("a list of at most %d, each %s", BOUND_LIST_MAX, value);
        faults_add(m->faults, m->source, n->line, n->column, path, allowed, NULL, "%s is given", given);
        free(given);
        free(value);
        free(allowed);
        set_origin(m, n, path, ORIGIN_BAD);
        return;
    }
    field_clear_list(message, f);
    set_origin(m, n, path, ORIGIN_VALUE);
    for (size_t i = 0; i < n->count; i++) {
        char *item = xprintf("%s[%zu]", path, i);
        set_value(m, &n->children[i], f, item, field_add_value(message, f));
        free(item);
    }
}

// `augment: none`: every p of its parts becomes 0, and what takes a p's place later goes back to its default.
static void turn_off(ProtobufCMessage *message)
{
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &message->descriptor->fields[i];
        if (f->type == PROTOBUF_C_TYPE_MESSAGE)
            turn_off(*(ProtobufCMessage **)field_member(message, f));
        else if (!strcmp(f->name, "p"))
            *(double *)field_member(message, f) = 0;
        else if (!strncmp(f->name, "p_", 2))
            *(double *)field_member(message, f) = *(const double *)f->default_value;
    }
}

static void map_message(const struct mapper *m, const struct node *n, ProtobufCMessage *message,
                        const ProtobufCFieldDescriptor *f, const char *path)
{
    bool can_be_none = !strcmp(path, "augment");
    if (n->kind == NODE_MAP || n->kind == NODE_NULL) {
        set_origin(m, n, path, ORIGIN_SECTION);
        map_fields(m, n, message, path);
    } else if (can_be_none && n->kind == NODE_SCALAR && !strcmp(n->text, "none")) {
        set_origin(m, n, path, ORIGIN_VALUE);
        turn_off(message);
    } else if (can_be_none) {
        char *given = describe(n);
        faults_add(m->faults, m->source, n->line, n->column, path, "none, or a map of fields",
                   n->kind == NODE_SCALAR ? nearest_name(n->text, (const char *const[]){"none"}, 1) : NULL,
                   "%s is given", given);
        free(given);
        set_origin(m, n, path, ORIGIN_BAD);
    } else {
        fault_type(m, n, f, path, NULL);
    }
}

static void map_field(const struct mapper *m, const struct node *n, ProtobufCMessage *message,
                      const ProtobufCFieldDescriptor *f, const char *path)
{
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        map_list(m, n, message, f, path);
    else if (f->type == PROTOBUF_C_TYPE_MESSAGE)
        map_message(m, n, *(ProtobufCMessage **)field_member(message, f), f, path);
    else
        set_value(m, n, f, path, field_member(message, f));
}

// The full path of the one field called `name` anywhere below a message; NULL: none. free() it.
static char *find_elsewhere(const ProtobufCMessageDescriptor *d, const char *prefix, const char *name)
{
    char *found = NULL;
    for (unsigned i = 0; !found && i < d->n_fields; i++) {
        char *path = field_path(prefix, d->fields[i].name);
        if (!strcmp(d->fields[i].name, name))
            found = xstrdup(path);
        else if (d->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
            found = find_elsewhere(d->fields[i].descriptor, path, name);
        free(path);
    }
    return found;
}

static void fault_unknown(const struct mapper *m, int line, int column, const ProtobufCMessageDescriptor *d,
                          const char *prefix, const char *name)
{
    const char *names[FIELDS_MAX];
    struct strbuf allowed = {0};
    unsigned count = d->n_fields < FIELDS_MAX ? d->n_fields : FIELDS_MAX;
    for (unsigned i = 0; i < count; i++) {
        names[i] = d->fields[i].name;
        strbuf_printf(&allowed, "%s%s", i ? ", " : "", names[i]);
    }
    const char *near = nearest_name(name, names, count);
    char *elsewhere = near ? NULL : find_elsewhere(&islr__job_spec__descriptor, "", name);
    char *path = field_path(prefix, name);
    faults_add(m->faults, m->source, line, column, path, allowed.text, near ? near : elsewhere,
               "there is no field '%.200s' in %s%s", name, *prefix ? "" : "a job", prefix);
    free(path);
    free(elsewhere);
    free(allowed.text);
}

static void map_fields(const struct mapper *m, const struct node *map, ProtobufCMessage *message, const char *path)
{
    for (size_t i = 0; i < map->count; i++) {
        const struct node *n = &map->children[i];
        const ProtobufCFieldDescriptor *f = field_find(message->descriptor, n->key);
        if (!f) {
            fault_unknown(m, n->key_line, n->key_column, message->descriptor, path, n->key);
            continue;
        }
        char *field = field_path(path, n->key);
        map_field(m, n, message, f, field);
        free(field);
    }
}

void map_job(const struct mapper *m, const struct node *root, Islr__JobSpec *job)
{
    if (root->kind == NODE_MAP || root->kind == NODE_NULL) {
        map_fields(m, root, &job->base, "");
        return;
    }
    char *given = describe(root);
    faults_add(m->faults, m->source, root->line, root->column, "", "a map of fields", NULL, "%s is given", given);
    free(given);
}

void map_argument(const struct mapper *m, const char *key, const struct node *value, Islr__JobSpec *job)
{
    ProtobufCMessage *message = &job->base;
    char *copy = xstrdup(key), *name = copy;
    for (;;) {
        size_t n = strcspn(name, ".");
        bool last = !name[n];
        name[n] = 0;
        const ProtobufCFieldDescriptor *f = field_find(message->descriptor, name);
        // The part of the key before this name.
        char *prefix = xprintf("%.*s", (int)(name == copy ? 0 : name - copy - 1), key);
        char *path = field_path(prefix, name);
        bool inside = f && f->type == PROTOBUF_C_TYPE_MESSAGE;
        if (!f)
            fault_unknown(m, 0, 0, message->descriptor, prefix, name);
        else if (last)
            map_field(m, value, message, f, path);
        else if (!inside)
            faults_add(m->faults, m->source, 0, 0, path, NULL, NULL, "the field has no fields of its own");
        else
            message = *(ProtobufCMessage **)field_member(message, f);
        free(prefix);
        free(path);
        if (!f || last || !inside)
            break;
        name += n + 1;
    }
    free(copy);
}

// Every value of a job by itself: see check.h.
#include "core/spec/check.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/nearest.h"
#include "core/base/utf8.h"
#include "core/spec/emit.h"
#include "core/spec/field.h"
#include "core/spec/bounds.h"
#include "core/spec/spec.h"
#include "core/spec/vary.h"

void check_fault(const struct checker *c, const char *fields, const char *allowed, const char *problem, ...)
{
    char names[512], *rest = NULL;
    snprintf(names, sizeof names, "%s", fields);
    const char *field = names; // the first one, which strtok_r() cuts off
    const struct origin *best = NULL, *section = NULL;
    for (char *name = strtok_r(names, " ", &rest); name && c->origins; name = strtok_r(NULL, " ", &rest)) {
        if (origins_bad(c->origins, name))
            return;
        const struct origin *o = origins_find(c->origins, name);
        if (o && o->kind == ORIGIN_SECTION && name == names)
            section = o;
        if (o && o->kind == ORIGIN_VALUE && (!best || o > best)) {
            best = o;
            field = name;
        }
    }
    best = best ? best : section;
    char text[1024];
    va_list args;
    va_start(args, problem);
    vsnprintf(text, sizeof text, problem, args);
    va_end(args);
    faults_add(c->faults, best ? best->source : c->source, best ? best->line : 0, best ? best->column : 0, field,
               allowed, NULL, "%s", text);
}

// A fault of one value: "<value> is given; allowed: ..".
static void fault_value(const struct checker *c, const ProtobufCFieldDescriptor *f, const char *path, const char *given)
{
    char *allowed = bound_text(f, path);
    check_fault(c, path, allowed, "%s is given", given);
    free(allowed);
}

static void check_number(const struct checker *c, const ProtobufCFieldDescriptor *f, const char *path,
                         const void *value)
{
    double v = f->type == PROTOBUF_C_TYPE_UINT32   ? *(const uint32_t *)value
               : f->type == PROTOBUF_C_TYPE_UINT64 ? (double)*(const uint64_t *)value
                                                   : *(const double *)value;
    if (bound_allows(bound_find(path), v))
        return;
    struct strbuf given = {0};
    emit_double(&given, v);
    if (bound_lost(bound_find(path), v))
        strbuf_printf(&given, " (%.9g in single precision)", (double)(float)v);
    fault_value(c, f, path, given.text);
    free(given.text);
}

static void check_enum(const struct checker *c, const ProtobufCFieldDescriptor *f, const char *path, int value)
{
    if (protobuf_c_enum_descriptor_get_value(f->descriptor, value))
        return;
    char given[32];
    snprintf(given, sizeof given, "%d", value);
    fault_value(c, f, path, given);
}

static bool is_choice(const char *names, const char *text)
{
    size_t n = strlen(text);
    for (const char *p = names; p; p = strchr(p, '|') ? strchr(p, '|') + 2 : NULL)
        if (!strncmp(p, text, n) && (p[n] == 0 || p[n] == ' '))
            return true;
    return false;
}

static void check_text(const struct checker *c, const ProtobufCFieldDescriptor *f, const char *path, const char *text)
{
    size_t size = strlen(text);
    const struct choice *choice = choice_find(path);
    if (!utf8_valid(text, size)) {
        check_fault(c, path, "UTF-8 text", "the text is not UTF-8");
        return;
    }
    if (size > BOUND_TEXT_MAX) {
        check_fault(c, path, "text of at most 4096 bytes", "a text of %zu bytes is given", size);
        return;
    }
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F) {
            check_fault(c, path, "text without control characters", "the text has the control character 0x%02X",
                        (unsigned char)text[i]);
            return;
        }
    if (!choice || !size || is_choice(choice->names, text))
        return;
    char *given = xprintf("'%.200s'", text);
    fault_value(c, f, path, given);
    free(given);
}

static void check_message(const struct checker *c, const ProtobufCMessage *message, const char *prefix);

void check_value(const struct checker *c, const ProtobufCFieldDescriptor *f, const char *path, const void *value)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        check_message(c, *(ProtobufCMessage *const *)value, path);
        break;
    case PROTOBUF_C_TYPE_STRING:
        check_text(c, f, path, *(char *const *)value);
        break;
    case PROTOBUF_C_TYPE_ENUM:
        check_enum(c, f, path, *(const int *)value);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        break;
    default:
        check_number(c, f, path, value);
    }
}

static void check_list(const struct checker *c, const ProtobufCMessage *message, const ProtobufCFieldDescriptor *f,
                       const char *path)
{
    size_t count = *field_count(message, f);
    if (count > BOUND_LIST_MAX) {
        check_fault(c, path, "at most 1000 values", "a list of %zu is given", count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        char *item = xprintf("%s[%zu]", path, i);
        check_value(c, f, item, field_value(message, f, i));
        free(item);
    }
}

static void check_message(const struct checker *c, const ProtobufCMessage *message, const char *prefix)
{
    for (unsigned i = 0; i < message->n_unknown_fields; i++)
        check_fault(c, prefix, NULL,
                    "the field of number %u is unknown here: the job was made by a newer version of the program",
                    message->unknown_fields[i].tag);
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &message->descriptor->fields[i];
        if (c->given && !vary_is_given(message, f))
            continue;
        char *path = field_path(prefix, f->name);
        if (f->label == PROTOBUF_C_LABEL_REPEATED)
            check_list(c, message, f, path);
        else
            check_value(c, f, path, field_member(message, f));
        free(path);
    }
}

void check_values(const struct checker *c, const Islr__JobSpec *job)
{
    check_message(c, &job->base, "");
}

int spec_validate(const Islr__JobSpec *job, const char *source, struct faults *faults)
{
    const struct checker c = {.source = source, .faults = faults};
    size_t before = faults->count + faults->dropped;
    check_values(&c, job);
    check_rules(&c, job);
    return faults->count + faults->dropped == before ? 0 : -1;
}

int spec_check_wire(Islr__JobSpec *job, struct faults *faults)
{
    spec_complete(job);
    return spec_validate(job, "job", faults);
}

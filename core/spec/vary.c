// Variations of a job, by its descriptors: see spec.h.
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/spec/field.h"
#include "core/spec/spec.h"
#include "core/spec/vary.h"
#include "core/spec/write.h"

int vary_is_given(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *f)
{
    const void *member = field_member(message, f);
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return *field_count(message, f) > 0;
    if (f->type == PROTOBUF_C_TYPE_MESSAGE)
        return *(ProtobufCMessage *const *)member != NULL;
    if (f->type == PROTOBUF_C_TYPE_STRING)
        return *(char *const *)member && *(char *const *)member != f->default_value;
    return *field_has(message, f);
}

static void copy_list(ProtobufCMessage *into, const ProtobufCMessage *from, const ProtobufCFieldDescriptor *f)
{
    field_clear_list(into, f);
    for (size_t i = 0; i < *field_count(from, f); i++) {
        const void *value = field_value(from, f, i);
        void *place = field_add_value(into, f);
        if (f->type == PROTOBUF_C_TYPE_STRING)
            field_set_string(f, place, *(char *const *)value);
        else
            memcpy(place, value, field_value_size(f->type));
    }
}

static void copy_value(ProtobufCMessage *into, const ProtobufCMessage *from, const ProtobufCFieldDescriptor *f)
{
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        copy_list(into, from, f);
    } else if (f->type == PROTOBUF_C_TYPE_STRING) {
        field_set_string(f, field_member(into, f), *(char *const *)field_member(from, f));
    } else {
        memcpy(field_member(into, f), field_member(from, f), field_value_size(f->type));
        *field_has(into, f) = 1;
    }
}

static ProtobufCMessage *part_of(ProtobufCMessage *message, const ProtobufCFieldDescriptor *f)
{
    ProtobufCMessage **part = field_member(message, f);
    if (!*part)
        *part = field_new_message(f->descriptor);
    return *part;
}

// ---- base + difference ----------------------------------------------------------------------------------------------

void vary_apply(ProtobufCMessage *into, const ProtobufCMessage *from)
{
    for (unsigned i = 0; i < from->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &from->descriptor->fields[i];
        if (!vary_is_given(from, f))
            continue;
        if (f->type == PROTOBUF_C_TYPE_MESSAGE)
            vary_apply(part_of(into, f), *(ProtobufCMessage *const *)field_member(from, f));
        else
            copy_value(into, from, f);
    }
}

void vary_restore(ProtobufCMessage *into, const ProtobufCMessage *base, const ProtobufCMessage *given)
{
    for (unsigned i = 0; i < given->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &given->descriptor->fields[i];
        if (!vary_is_given(given, f))
            continue;
        if (f->type == PROTOBUF_C_TYPE_MESSAGE)
            vary_restore(*(ProtobufCMessage **)field_member(into, f), *(ProtobufCMessage **)field_member(base, f),
                         *(ProtobufCMessage **)field_member(given, f));
        else
            copy_value(into, base, f);
    }
}

int vary_knows_all(const ProtobufCMessage *message)
{
    int known = message->n_unknown_fields == 0;
    for (unsigned i = 0; i < message->descriptor->n_fields && known; i++) {
        const ProtobufCFieldDescriptor *f = &message->descriptor->fields[i];
        if (f->type == PROTOBUF_C_TYPE_MESSAGE && vary_is_given(message, f))
            known = vary_knows_all(*(ProtobufCMessage *const *)field_member(message, f));
    }
    return known;
}

Islr__JobSpec *spec_vary(const Islr__JobSpec *base, const Islr__JobSpec *difference, struct error *e)
{
    if (!vary_knows_all(&difference->base)) {
        error_set(e, ERR_INVALID,
                  "a variation of the job has fields that are unknown here: it was made by a newer "
                  "version of the program");
        return NULL;
    }
    Islr__JobSpec *job = spec_copy(base);
    vary_apply(&job->base, &difference->base);
    return job;
}

// ---- job - base -----------------------------------------------------------------------------------------------------

static int same_value(const ProtobufCMessage *a, const ProtobufCMessage *b, const ProtobufCFieldDescriptor *f, size_t i)
{
    const void *x = field_value(a, f, i), *y = field_value(b, f, i);
    if (f->type == PROTOBUF_C_TYPE_STRING)
        return !strcmp(*(char *const *)x, *(char *const *)y);
    return !memcmp(x, y, field_value_size(f->type));
}

static int same(const ProtobufCMessage *a, const ProtobufCMessage *b, const ProtobufCFieldDescriptor *f)
{
    if (f->label != PROTOBUF_C_LABEL_REPEATED)
        return same_value(a, b, f, 0);
    size_t count = *field_count(a, f);
    if (count != *field_count(b, f))
        return 0;
    for (size_t i = 0; i < count; i++)
        if (!same_value(a, b, f, i))
            return 0;
    return 1;
}

static int put_differences(const ProtobufCMessage *base, const ProtobufCMessage *job, const char *prefix,
                           ProtobufCMessage *out, struct error *e)
{
    int rc = 0;
    for (unsigned i = 0; i < job->descriptor->n_fields && !rc; i++) {
        const ProtobufCFieldDescriptor *f = &job->descriptor->fields[i];
        char *path = field_path(prefix, f->name);
        if (f->type == PROTOBUF_C_TYPE_MESSAGE)
            rc = put_differences(*(ProtobufCMessage *const *)field_member(base, f),
                                 *(ProtobufCMessage *const *)field_member(job, f), path, part_of(out, f), e);
        else if (!same(base, job, f) && f->label == PROTOBUF_C_LABEL_REPEATED && !*field_count(job, f))
            rc = error_set(e, ERR_INVALID, "%s: an empty list cannot stand in the place of another one", path);
        else if (!same(base, job, f))
            copy_value(out, job, f);
        free(path);
    }
    return rc;
}

Islr__JobSpec *spec_difference(const Islr__JobSpec *base, const Islr__JobSpec *job, struct error *e)
{
    Islr__JobSpec *out = (Islr__JobSpec *)field_new_message(&islr__job_spec__descriptor);
    if (!put_differences(&base->base, &job->base, "", &out->base, e))
        return out;
    spec_free(out);
    return NULL;
}

// ---- values by their names ------------------------------------------------------------------------------------------

static void add_settings(const ProtobufCMessage *message, const char *prefix, struct spec_settings *s)
{
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &message->descriptor->fields[i];
        char *path = field_path(prefix, f->name);
        if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
            add_settings(*(ProtobufCMessage *const *)field_member(message, f), path, s);
            free(path);
            continue;
        }
        struct strbuf value = {0};
        write_json_field(&value, message, f);
        s->items = xrealloc(s->items, s->count + 1, sizeof *s->items);
        s->items[s->count++] = (struct spec_setting){path, value.text};
    }
}

struct spec_settings spec_settings(const Islr__JobSpec *job)
{
    struct spec_settings s = {0};
    add_settings(&job->base, "", &s);
    return s;
}

void spec_settings_free(struct spec_settings *s)
{
    for (size_t i = 0; i < s->count; i++) {
        free(s->items[i].name);
        free(s->items[i].value);
    }
    free(s->items);
    s->items = NULL;
    s->count = 0;
}

// Fields and presets as text: see describe.h.
#include "core/spec/describe.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/spec/bounds.h"
#include "core/spec/field.h"
#include "core/spec/preset.h"
#include "core/spec/spec.h"
#include "core/spec/write.h"

struct walk {
    void (*row)(void *context, const struct spec_field *field);
    void *context;
};

// bound_text(), and the two texts whose rules are not in bounds.c.
static char *allowed_text(const ProtobufCFieldDescriptor *f, const char *path)
{
    struct strbuf names = {0};
    if (!strcmp(path, "data.fold"))
        return xstrdup("0 to data.k - 1 | all | full");
    if (strcmp(path, "preset"))
        return bound_text(f, path);
    for (const struct preset *p = presets; p->name; p++)
        strbuf_printf(&names, "%s%s", p == presets ? "" : " | ", p->name);
    return names.text;
}

static void describe_field(const struct walk *w, const ProtobufCMessage *message, const ProtobufCFieldDescriptor *f,
                           const char *path)
{
    struct strbuf value = {0};
    write_json_field(&value, message, f);
    char *one = allowed_text(f, path);
    char *allowed = f->label == PROTOBUF_C_LABEL_REPEATED ? xprintf("a list, each %s", one) : xstrdup(one);
    w->row(w->context, &(struct spec_field){path, value.text, allowed});
    free(value.text);
    free(allowed);
    free(one);
}

static void describe_message(const struct walk *w, const ProtobufCMessage *message, const char *prefix)
{
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &message->descriptor->fields[i];
        char *path = field_path(prefix, f->name);
        if (f->type == PROTOBUF_C_TYPE_MESSAGE)
            describe_message(w, *(ProtobufCMessage **)field_member(message, f), path);
        else
            describe_field(w, message, f, path);
        free(path);
    }
}

void describe_fields(void (*row)(void *context, const struct spec_field *field), void *context)
{
    const struct walk w = {row, context};
    Islr__JobSpec *job = spec_default();
    describe_message(&w, &job->base, "");
    spec_free(job);
}

char *describe_presets(void)
{
    struct strbuf b = {0};
    strbuf_printf(&b, "presets:");
    for (const struct preset *p = presets; p->name; p++)
        strbuf_printf(&b, "\n  %-10s %s", p->name, p->summary);
    return b.text;
}

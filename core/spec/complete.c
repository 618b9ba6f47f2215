// Complete jobs: every field present (spec.h).
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/spec/field.h"
#include "core/spec/spec.h"

// proto2 has no defaults for lists; those of job.proto's comments.
static const struct list_default {
    const ProtobufCMessageDescriptor *message;
    const char *field;
    size_t count;
    double values[3];
} list_defaults[] = {
    {&islr__model__descriptor, "dropout_encoders", 3, {0.05, 0.1, 0.1}},
    {&islr__distill__descriptor, "dropout_encoders", 3, {0.05, 0.1, 0.1}},
    {&islr__train__descriptor, "betas", 2, {0.9, 0.999}},
};

static void complete_list(ProtobufCMessage *message, const ProtobufCFieldDescriptor *f)
{
    if (*field_count(message, f))
        return;
    for (size_t i = 0; i < sizeof list_defaults / sizeof *list_defaults; i++) {
        const struct list_default *d = &list_defaults[i];
        if (d->message != message->descriptor || strcmp(d->field, f->name))
            continue;
        for (size_t k = 0; k < d->count; k++)
            *(double *)field_add_value(message, f) = d->values[k];
    }
}

static void complete_value(ProtobufCMessage *message, const ProtobufCFieldDescriptor *f)
{
    protobuf_c_boolean *has = field_has(message, f);
    if (*has)
        return;
    size_t size = field_value_size(f->type);
    if (f->default_value)
        memcpy(field_member(message, f), f->default_value, size);
    else
        memset(field_member(message, f), 0, size);
    *has = 1;
}

static void complete_message(ProtobufCMessage *message)
{
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &message->descriptor->fields[i];
        void *member = field_member(message, f);
        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
            complete_list(message, f);
        } else if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
            ProtobufCMessage **part = member;
            if (!*part)
                *part = field_new_message(f->descriptor);
            complete_message(*part);
        } else if (f->type == PROTOBUF_C_TYPE_STRING) {
            // protobuf-c neither sends nor frees a pointer to the default itself.
            char **text = member;
            if (!*text || *text == f->default_value)
                *text = xstrdup(f->default_value ? f->default_value : "");
        } else {
            complete_value(message, f);
        }
    }
}

// A fold file says how many folds there are, unless the job does too: then they are to agree.
static void complete_fold_count(Islr__Data *d)
{
    if (!d || d->has_k || !d->fold_file || !*d->fold_file)
        return;
    d->has_k = 1;
    d->k = 0;
}

void spec_complete(Islr__JobSpec *job)
{
    complete_fold_count(job->data);
    complete_message(&job->base);
}

Islr__JobSpec *spec_default(void)
{
    Islr__JobSpec *job = (Islr__JobSpec *)field_new_message(&islr__job_spec__descriptor);
    spec_complete(job);
    return job;
}

Islr__JobSpec *spec_copy(const Islr__JobSpec *job)
{
    size_t size = islr__job_spec__get_packed_size(job);
    uint8_t *packed = xmalloc(size ? size : 1);
    islr__job_spec__pack(job, packed);
    Islr__JobSpec *copy = islr__job_spec__unpack(NULL, size, packed);
    free(packed);
    if (!copy) // only memory can be missing: these bytes have just been packed
        abort();
    return copy;
}

void spec_free(Islr__JobSpec *job)
{
    if (job)
        islr__job_spec__free_unpacked(job, NULL);
}

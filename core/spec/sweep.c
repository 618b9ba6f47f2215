// Sweeps: see sweep.h. A combination is put together in place: fields that any axis gives go back to the base's values,
// then each axis has its turn.
#include "core/spec/sweep.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/utf8.h"
#include "core/spec/check.h"
#include "core/spec/field.h"
#include "core/spec/vary.h"

struct spec_sweep_place {
    const ProtobufCFieldDescriptor *field; // NULL: the axis has values
    void *value;
};

static const size_t NOWHERE = (size_t)-1;

// ---- opening --------------------------------------------------------------------------------------------------------

// The field that a key names; *message: that it is in, of `job` (NULL: the descriptors alone are asked).
static const ProtobufCFieldDescriptor *find_number(const char *key, const Islr__JobSpec *job,
                                                   ProtobufCMessage **message)
{
    const ProtobufCMessageDescriptor *d = &islr__job_spec__descriptor;
    ProtobufCMessage *at = job ? (ProtobufCMessage *)&job->base : NULL;
    char *copy = xstrdup(key), *rest = NULL;
    const ProtobufCFieldDescriptor *f = NULL;
    for (char *name = strtok_r(copy, ".", &rest); name && d; name = strtok_r(NULL, ".", &rest)) {
        if (f && at)
            at = *(ProtobufCMessage **)field_member(at, f);
        f = field_find(d, name);
        d = f && f->type == PROTOBUF_C_TYPE_MESSAGE ? f->descriptor : NULL;
        if (!d && rest && *rest)
            f = NULL;
    }
    free(copy);
    if (message)
        *message = at;
    int whole = f && (f->type == PROTOBUF_C_TYPE_UINT32 || f->type == PROTOBUF_C_TYPE_UINT64);
    return whole && f->label != PROTOBUF_C_LABEL_REPEATED ? f : NULL;
}

int spec_sweep_can_count(const char *key)
{
    return find_number(key, NULL, NULL) != NULL;
}

static size_t size_of(const Islr__Axis *a)
{
    return a->key ? a->count : a->n_values;
}

static int open_numbers(struct spec_sweep *s, const Islr__Axis *a, struct spec_sweep_place *place, struct error *e)
{
    ProtobufCMessage *message;
    place->field = find_number(a->key, s->job, &message);
    if (!place->field)
        return error_set(e, ERR_INVALID, "a sweep numbers '%.200s', which is no field of a whole number", a->key);
    uint64_t most = place->field->type == PROTOBUF_C_TYPE_UINT32 ? UINT32_MAX : UINT64_MAX;
    if (a->n_values || a->count > most || a->first > most - a->count)
        return error_set(e, ERR_INVALID, "the numbers of a sweep's %s are none", a->key);
    place->value = field_member(message, place->field);
    return 0;
}

static int open_values(struct spec_sweep *s, const Islr__Axis *a, struct error *e)
{
    if (a->n_labels != a->n_values)
        return error_set(e, ERR_INVALID, "a sweep has %zu values and %zu names for them", a->n_values, a->n_labels);
    for (size_t i = 0; i < a->n_values; i++) {
        if (!*a->labels[i] || !utf8_valid(a->labels[i], strlen(a->labels[i])))
            return error_set(e, ERR_INVALID, "a value of a sweep has no name, or one that is no text");
        if (!vary_knows_all(&a->values[i]->base))
            return error_set(e, ERR_INVALID,
                             "the sweep's %.200s has fields that are unknown here: it was made by a newer version of "
                             "the program",
                             a->labels[i]);
        vary_apply(&s->given->base, &a->values[i]->base);
    }
    return 0;
}

static int open_axis(struct spec_sweep *s, size_t i, size_t most, struct error *e)
{
    const Islr__Axis *a = s->axes[i];
    size_t size = size_of(a);
    if (!size || size > most || (s->count *= size) > most)
        return error_set(e, ERR_INVALID,
                         size ? "a sweep can have at most %zu runs" : "an axis of the sweep has no values", most);
    return a->key ? open_numbers(s, a, &s->places[i], e) : open_values(s, a, e);
}

static size_t digits(uint64_t n)
{
    size_t count = 1;
    while (n /= 10)
        count++;
    return count;
}

// Of the longest label.
static size_t label_size(const struct spec_sweep *s)
{
    size_t size = s->axis_count - 1;
    for (size_t i = 0; i < s->axis_count; i++) {
        const Islr__Axis *a = s->axes[i];
        size_t longest = a->key ? strlen(a->key) + 1 + digits(a->first + a->count) : 0;
        for (size_t k = 0; k < a->n_labels; k++)
            longest = strlen(a->labels[k]) > longest ? strlen(a->labels[k]) : longest;
        size += longest;
    }
    return size;
}

int spec_sweep_open(struct spec_sweep *s, const Islr__JobSpec *base, Islr__Axis *const *axes, size_t axis_count,
                    size_t most, struct error *e)
{
    *s = (struct spec_sweep){.base = base, .axes = axes, .axis_count = axis_count, .at = NOWHERE, .count = 1};
    s->places = xcalloc(axis_count ? axis_count : 1, sizeof *s->places);
    s->job = spec_copy(base);
    s->given = (Islr__JobSpec *)field_new_message(&islr__job_spec__descriptor);
    int rc = axis_count ? 0 : error_set(e, ERR_INVALID, "the sweep has no axes");
    for (size_t i = 0; i < axis_count && !rc; i++)
        rc = open_axis(s, i, most, e);
    if (!rc && label_size(s) > SPEC_SWEEP_LABEL_MAX)
        rc = error_set(e, ERR_INVALID,
                       "the values of the sweep are too long: a run is called by all of its own, which may be %d bytes",
                       SPEC_SWEEP_LABEL_MAX);
    if (rc)
        spec_sweep_close(s);
    return rc;
}

void spec_sweep_close(struct spec_sweep *s)
{
    free(s->places);
    spec_free(s->job);
    spec_free(s->given);
    memset(s, 0, sizeof *s);
}

// ---- combinations ---------------------------------------------------------------------------------------------------

// Of how many combinations in a row axis i keeps its value.
static size_t stride_of(const struct spec_sweep *s, size_t i)
{
    size_t stride = 1;
    while (++i < s->axis_count)
        stride *= size_of(s->axes[i]);
    return stride;
}

static void put_number(const struct spec_sweep_place *place, uint64_t n)
{
    if (place->field->type == PROTOBUF_C_TYPE_UINT32)
        *(uint32_t *)place->value = (uint32_t)n;
    else
        *(uint64_t *)place->value = n;
}

const Islr__JobSpec *spec_sweep_job(struct spec_sweep *s, size_t i)
{
    if (s->at == i)
        return s->job;
    vary_restore(&s->job->base, &s->base->base, &s->given->base);
    for (size_t k = 0; k < s->axis_count; k++) {
        const Islr__Axis *a = s->axes[k];
        size_t value = i / stride_of(s, k) % size_of(a);
        if (a->key)
            put_number(&s->places[k], a->first + value);
        else
            vary_apply(&s->job->base, &a->values[value]->base);
    }
    s->at = i;
    return s->job;
}

char *spec_sweep_label(const struct spec_sweep *s, size_t i)
{
    struct strbuf b = {0};
    for (size_t k = 0; k < s->axis_count; k++) {
        const Islr__Axis *a = s->axes[k];
        size_t value = i / stride_of(s, k) % size_of(a);
        if (a->key)
            strbuf_printf(&b, "%s%s=%llu", k ? "," : "", a->key, (unsigned long long)(a->first + value));
        else
            strbuf_printf(&b, "%s%s", k ? "," : "", a->labels[value]);
    }
    return b.text;
}

// ---- checking -------------------------------------------------------------------------------------------------------

// A value is right or wrong by itself wherever it stands; bounds are intervals, so that of numbers in a row the ends
// speak for the others.
static void check_axis(const Islr__Axis *a, const struct spec_sweep_place *place, struct faults *faults)
{
    for (size_t i = 0; i < a->n_values; i++) {
        const struct checker c = {.source = a->labels[i], .faults = faults, .given = true};
        check_values(&c, a->values[i]);
    }
    for (int last = 0; a->key && last < (a->count > 1 ? 2 : 1); last++) {
        uint64_t n = a->first + (last ? a->count - 1 : 0);
        uint32_t narrow = (uint32_t)n;
        char *source = xprintf("%s=%llu", a->key, (unsigned long long)n);
        const struct checker c = {.source = source, .faults = faults};
        check_value(&c, place->field, a->key,
                    place->field->type == PROTOBUF_C_TYPE_UINT32 ? (const void *)&narrow : &n);
        free(source);
    }
}

int spec_sweep_check(struct spec_sweep *s, struct faults *faults)
{
    size_t before = faults->count + faults->dropped;
    for (size_t i = 0; i < s->axis_count; i++)
        check_axis(s->axes[i], &s->places[i], faults);
    if (faults->count + faults->dropped != before)
        return -1; // what fields demand of each other is asked of values that may be
    for (size_t i = 0; i < s->count; i++) {
        struct faults found = {0};
        const struct checker quick = {.faults = &found};
        check_rules(&quick, spec_sweep_job(s, i));
        if (found.count) {
            char *label = spec_sweep_label(s, i);
            const struct checker c = {.source = label, .faults = faults};
            check_rules(&c, spec_sweep_job(s, i));
            free(label);
        }
        faults_free(&found);
    }
    return faults->count + faults->dropped == before ? 0 : -1;
}

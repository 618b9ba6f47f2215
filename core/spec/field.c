// Fields by descriptors: see field.h.
#include "core/spec/field.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

size_t field_value_size(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_UINT64:
        return sizeof(uint64_t);
    case PROTOBUF_C_TYPE_DOUBLE:
        return sizeof(double);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    default: // uint32, bool, enum
        return sizeof(uint32_t);
    }
}

void *field_value(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field, size_t i)
{
    char *member = field_member(message, field);
    if (field->label != PROTOBUF_C_LABEL_REPEATED)
        return member;
    return *(char **)member + i * field_value_size(field->type);
}

const ProtobufCFieldDescriptor *field_find(const ProtobufCMessageDescriptor *message, const char *name)
{
    for (unsigned i = 0; i < message->n_fields; i++)
        if (!strcmp(message->fields[i].name, name))
            return &message->fields[i];
    return NULL;
}

ProtobufCMessage *field_new_message(const ProtobufCMessageDescriptor *descriptor)
{
    ProtobufCMessage *message = xmalloc(descriptor->sizeof_message);
    protobuf_c_message_init(descriptor, message);
    return message;
}

void field_clear_list(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    void **list = field_member(message, field);
    size_t *count = field_count(message, field);
    if (field->type == PROTOBUF_C_TYPE_STRING)
        for (size_t i = 0; i < *count; i++)
            free(((char **)*list)[i]);
    free(*list);
    *list = NULL;
    *count = 0;
}

void *field_add_value(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    void **list = field_member(message, field);
    size_t *count = field_count(message, field), size = field_value_size(field->type);
    *list = xrealloc(*list, *count + 1, size);
    void *value = (char *)*list + *count * size;
    memset(value, 0, size);
    if (field->type == PROTOBUF_C_TYPE_STRING)
        *(char **)value = xstrdup("");
    ++*count;
    return value;
}

void field_set_string(const ProtobufCFieldDescriptor *field, char **member, const char *text)
{
    if (*member && *member != field->default_value)
        free(*member);
    *member = xstrdup(text);
}

// Bytes of "PRECISION_" for an enum called Precision.
static size_t prefix_length(const ProtobufCEnumDescriptor *descriptor)
{
    return strlen(descriptor->short_name) + 1;
}

char *field_enum_name(const ProtobufCEnumDescriptor *descriptor, int value)
{
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(descriptor, value);
    if (!v)
        return NULL;
    char *name = xstrdup(v->name + prefix_length(descriptor));
    for (char *p = name; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return name;
}

char *field_enum_names(const ProtobufCEnumDescriptor *descriptor)
{
    struct strbuf b = {0};
    for (unsigned i = 0; i < descriptor->n_values; i++) {
        char *name = field_enum_name(descriptor, descriptor->values[i].value);
        strbuf_printf(&b, "%s%s", i ? " | " : "", name);
        free(name);
    }
    return b.text;
}

char *field_path(const char *prefix, const char *name)
{
    size_t n = strlen(prefix), m = strlen(name); // of every field of every job of a sweep: not through printf
    char *path = xmalloc(n + m + 2);
    memcpy(path, prefix, n);
    path[n] = '.';
    memcpy(path + n + (n > 0), name, m + 1);
    return path;
}

// Fields of protobuf-c messages by their descriptors. job.proto uses uint32, uint64, double, bool, enums, strings and
// messages, of which numbers and strings may be repeated; a test holds it to that.
#ifndef ISLR_SPEC_FIELD_H
#define ISLR_SPEC_FIELD_H

#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

// A field of a certain message.
static inline void *field_member(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    return (char *)message + field->offset;
}

// has_X of an optional number, n_X of a repeated field.
static inline protobuf_c_boolean *field_has(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    return (protobuf_c_boolean *)((char *)message + field->quantifier_offset);
}
static inline size_t *field_count(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    return (size_t *)((char *)message + field->quantifier_offset);
}

size_t field_value_size(ProtobufCType type); // bytes of one value

// Value i of a field (i = 0 where it is not repeated).
void *field_value(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field, size_t i);

const ProtobufCFieldDescriptor *field_find(const ProtobufCMessageDescriptor *message, const char *name);

// Allocates and initialises a message (malloc, as protobuf-c's own allocator).
ProtobufCMessage *field_new_message(const ProtobufCMessageDescriptor *descriptor);

// Frees all values of a repeated field and leaves it empty.
void field_clear_list(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);

// Makes room for one value more and returns it: 0, or an empty text.
void *field_add_value(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);

// Replaces the string at `member`, of field `field`, by a copy of `text`.
void field_set_string(const ProtobufCFieldDescriptor *field, char **member, const char *text);

// An enum value's name as users write it: "KIND_TRAIN" -> "train"; free() it. NULL: no such value.
char *field_enum_name(const ProtobufCEnumDescriptor *descriptor, int value);

// All of them: "train | prepare | ..", to free().
char *field_enum_names(const ProtobufCEnumDescriptor *descriptor);

// "prefix.name", or "name" where the prefix is empty; free() it.
char *field_path(const char *prefix, const char *name);

#endif

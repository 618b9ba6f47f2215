// Fields of one job put into another: between the files of core/spec.
#ifndef ISLR_SPEC_VARY_H
#define ISLR_SPEC_VARY_H

#include <protobuf-c/protobuf-c.h>

// Whether the message holds a value of its own in this field; an empty list is none.
int vary_is_given(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *f);
// Whether there are no fields in it that this version does not know.
int vary_knows_all(const ProtobufCMessage *message);
// `into` gets every value that `from` gives, lists whole.
void vary_apply(ProtobufCMessage *into, const ProtobufCMessage *from);
// `into` gets back those of `base` (both complete) in all fields that `given` gives.
void vary_restore(ProtobufCMessage *into, const ProtobufCMessage *base, const ProtobufCMessage *given);

#endif

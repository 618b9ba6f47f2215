// Pieces of a job as text: between the files of core/spec.
#ifndef ISLR_SPEC_WRITE_H
#define ISLR_SPEC_WRITE_H

#include <protobuf-c/protobuf-c.h>

#include "core/base/memory.h"

// The value of one field as JSON.
void write_json_field(struct strbuf *b, const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);

#endif

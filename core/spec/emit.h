// Pieces of JSON (and so of YAML): strings and numbers.
#ifndef ISLR_SPEC_EMIT_H
#define ISLR_SPEC_EMIT_H

#include "core/base/memory.h"

// A quoted JSON string; bytes that are not UTF-8 come out as U+FFFD.
void emit_string(struct strbuf *b, const char *text);

// The shortest decimal number that reads back to `v`, which must be finite.
void emit_double(struct strbuf *b, double v);

#endif

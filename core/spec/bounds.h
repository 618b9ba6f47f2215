// What each field may hold: the one table that validation enforces, faults quote and the documentation prints.
#ifndef ISLR_SPEC_BOUNDS_H
#define ISLR_SPEC_BOUNDS_H

#include <stdbool.h>
#include <stddef.h>

#include <protobuf-c/protobuf-c.h>

// Of a number (each value, where it is repeated).
struct bound {
    const char *field;
    double min, max;
    bool above; // min itself is not allowed
    bool below; // max itself is not allowed
};
extern const struct bound bounds[]; // ends with a NULL field

// Of a text: one of `names`, separated by " | " ("" is always allowed).
struct choice {
    const char *field, *names;
};
extern const struct choice choices[]; // ends with a NULL field

enum { BOUND_TEXT_MAX = 4096, BOUND_LIST_MAX = 1000 }; // bytes of a text, values of a list
enum { BOUND_SOUP_MAX = 1000 };                        // ingredients of a soup, which the server names one by one

const struct bound *bound_find(const char *field); // list indices are ignored; NULL: none
const struct choice *choice_find(const char *field);
// A value within an open bound that single precision, which training computes in, rounds to the bound itself.
bool bound_lost(const struct bound *bound, double value);
bool bound_allows(const struct bound *bound, double value); // NULL: any; never inf, NaN, subnormal

// "a whole number from 1 to 65536", "a number above 0, up to 10", "true | false", "bf16 | fp32", "text"; free() it.
char *bound_text(const ProtobufCFieldDescriptor *descriptor, const char *field);

#endif

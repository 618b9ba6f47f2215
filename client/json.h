// A JSON document written piece by piece, for --json. Values that JSON has no word for (not finite, not there) are
// null.
#ifndef ISLR_CLIENT_JSON_H
#define ISLR_CLIENT_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/base/memory.h"

// Zero-initialise. json_print() ends it.
struct json {
    struct strbuf text;
    bool follows; // something stands before in this object or list
};

// `key` is NULL inside lists and at the top.
void json_begin(struct json *j, const char *key, char bracket);     // '{' or '['
void json_end(struct json *j, char bracket);                        // '}' or ']'
void json_text(struct json *j, const char *key, const char *value); // NULL: null
void json_integer(struct json *j, const char *key, int64_t value);
void json_number(struct json *j, const char *key, double value); // up to 9 digits
void json_boolean(struct json *j, const char *key, bool value);
void json_null(struct json *j, const char *key);
void json_time(struct json *j, const char *key, int64_t ms); // "2026-03-01T12:00:00.000Z"; 0: null
void json_hash(struct json *j, const char *key, const uint8_t *bytes, size_t size); // hex; size 0: null
void json_raw(struct json *j, const char *key, const char *json);                   // a document as it is

void json_print(struct json *j, FILE *stream); // with a newline; j may be used anew

#endif

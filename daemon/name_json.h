// Names of files in the commands' JSON documents.
#ifndef ISLR_DAEMON_NAME_JSON_H
#define ISLR_DAEMON_NAME_JSON_H

#include <jansson.h>

// A file's name, or a sentence with one in it, as a JSON text: bytes that are not UTF-8, which JSON has no place for, become U+FFFD.
json_t *name_json(const char *name);

#endif

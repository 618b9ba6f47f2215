// The runs of a group, for `show`.
#ifndef ISLR_CLIENT_LIST_H
#define ISLR_CLIENT_LIST_H

#include "client/json.h"
#include "core/rpc/call.h"

int list_print_members(struct caller *c, uint64_t group, struct error *e); // as the table of `list`
// Their objects, into the array that has been begun.
int list_json_members(struct caller *c, uint64_t group, struct json *document, struct error *e);

#endif

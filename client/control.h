// Requests that change something and are answered by yes or no.
#ifndef ISLR_CLIENT_CONTROL_H
#define ISLR_CLIENT_CONTROL_H

#include "core/rpc/call.h"

// Sends Control for all targets; 0, or -1 with the server's reason (nothing was changed then).
int control_send(struct caller *c, Islr__Control__Verb verb, const uint64_t *targets, size_t count, int32_t priority,
                 struct error *e);

#endif

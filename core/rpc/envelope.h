// Envelopes: packed into frames, unpacked under a memory cap, and what kind of message each is.
#ifndef ISLR_RPC_ENVELOPE_H
#define ISLR_RPC_ENVELOPE_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"
#include "proto/control.pb-c.h"

// Sets up an envelope on the stack around a message:
//     Islr__ListRuns list = ISLR__LIST_RUNS__INIT;
//     Islr__Envelope m = ENVELOPE(LIST_RUNS, list_runs, &list);
#define ENVELOPE(CASE, field, message)                                                                                 \
    {                                                                                                                  \
        PROTOBUF_C_MESSAGE_INIT(&islr__envelope__descriptor), .body_case = ISLR__ENVELOPE__BODY_##CASE,                \
                                                              .field = (message)                                       \
    }

// A malloc'ed frame (header and body) of an envelope; *size is all of it. NULL with ERR_INVALID when the body would be
// longer than `limit`.
uint8_t *envelope_pack(const Islr__Envelope *m, uint32_t limit, size_t *size, struct error *e);

// The envelope in a frame's body; free with envelope_free(). NULL with ERR_DAMAGED when the bytes are not one, it would
// take more than memory_limit bytes, or a text in it is not UTF-8. A newer sender's message that is not known here
// comes out with body_case 0.
Islr__Envelope *envelope_unpack(const uint8_t *body, size_t size, size_t memory_limit, struct error *e);
void envelope_free(Islr__Envelope *m);         // NULL is fine
size_t envelope_cost(const Islr__Envelope *m); // bytes of memory that unpacking it took

// Every byte of `text` that is not part of well-formed UTF-8 becomes '?'. For texts that came from elsewhere (file
// names, log lines, cut error texts) before they are sent: the other end takes no others.
void envelope_clean_text(char *text);

// A reply carries the id of a request of ours. It is the last one to its request unless more follow (Records before
// FollowEnd, RunEnded before Ok, lists with `more`).
int envelope_is_reply(const Islr__Envelope *m);
int envelope_is_last_reply(const Islr__Envelope *m);

const char *envelope_name(const Islr__Envelope *m); // "submit", "run_list", ..: for messages

// The error that a Fault speaks of; always returns -1.
int envelope_fault_error(const Islr__Fault *fault, struct error *e);

#endif

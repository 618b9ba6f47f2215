// Envelopes: see envelope.h.
#include "core/rpc/envelope.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/utf8.h"
#include "core/rpc/frame.h"

uint8_t *envelope_pack(const Islr__Envelope *m, uint32_t limit, size_t *size, struct error *e)
{
    size_t length = islr__envelope__get_packed_size(m);
    if (length > limit) {
        error_set(e, ERR_INVALID, "a message (%s) of %zu bytes is larger than the %u that may be sent",
                  envelope_name(m), length, limit);
        return NULL;
    }
    uint8_t *frame = xmalloc(FRAME_HEADER_SIZE + length);
    frame_put_header(frame, (uint32_t)length);
    islr__envelope__pack(m, frame + FRAME_HEADER_SIZE);
    *size = FRAME_HEADER_SIZE + length;
    return frame;
}

// ---- unpacking under a cap ------------------------------------------------------------------------------------------

// Counts what unpacking asks for. Everything comes from malloc, so the message can be freed without it.
struct budget {
    size_t left;
};

// What envelope_unpack() gives: freed like any message.
struct unpacked {
    Islr__Envelope m;
    size_t cost;
};

static void *budget_alloc(void *data, size_t size)
{
    struct budget *b = data;
    size_t cost = size + 16; // malloc's own share
    if (size > b->left || cost > b->left)
        return NULL;
    b->left -= cost;
    return malloc(size);
}

static void budget_free(void *data, void *p)
{
    (void)data;
    free(p);
}

void envelope_clean_text(char *text)
{
    utf8_clean(text);
}

static int check_message(const ProtobufCMessage *m, struct error *e);

static int check_field(const ProtobufCFieldDescriptor *f, void *const *values, size_t count, struct error *e)
{
    for (size_t i = 0; i < count; i++) {
        if (!values[i])
            continue;
        if (f->type != PROTOBUF_C_TYPE_STRING) {
            if (check_message(values[i], e))
                return -1;
        } else if (!utf8_valid(values[i], strlen(values[i]))) {
            return error_set(e, ERR_DAMAGED, "the text of the field \"%s\" is not UTF-8", f->name);
        }
    }
    return 0;
}

// What protobuf-c lets through: texts that are not UTF-8, and a field number that cannot be.
static int check_message(const ProtobufCMessage *m, struct error *e)
{
    for (unsigned i = 0; i < m->n_unknown_fields; i++)
        if (m->unknown_fields[i].tag == 0)
            return error_set(e, ERR_DAMAGED, "there is a field of number 0");
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        if (f->type != PROTOBUF_C_TYPE_STRING && f->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        const char *base = (const char *)m;
        void *const *values = (void *const *)(base + f->offset);
        size_t count = 1;
        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
            count = *(const size_t *)(base + f->quantifier_offset);
            values = (void *const *)*values;
        } else if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
            count = *(const uint32_t *)(base + f->quantifier_offset) == f->id;
        }
        if (check_field(f, values, count, e))
            return -1;
    }
    return 0;
}

Islr__Envelope *envelope_unpack(const uint8_t *body, size_t size, size_t memory_limit, struct error *e)
{
    struct budget budget = {memory_limit};
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &budget};
    Islr__Envelope *m = islr__envelope__unpack(&allocator, size, body);
    if (!m) {
        error_set(e, ERR_DAMAGED, "a frame of %zu bytes does not hold a message", size);
        return NULL;
    }
    if (check_message(&m->base, e)) {
        error_prefix(e, "a damaged message (%s)", envelope_name(m));
        envelope_free(m);
        return NULL;
    }
    struct unpacked *u = xrealloc(m, 1, sizeof *u);
    u->cost = memory_limit - budget.left;
    return &u->m;
}

size_t envelope_cost(const Islr__Envelope *m)
{
    return ((const struct unpacked *)m)->cost;
}

void envelope_free(Islr__Envelope *m)
{
    if (m)
        islr__envelope__free_unpacked(m, NULL);
}

// ---- kinds ----------------------------------------------------------------------------------------------------------

int envelope_is_reply(const Islr__Envelope *m)
{
    switch (m->body_case) {
    case ISLR__ENVELOPE__BODY_WELCOME:
    case ISLR__ENVELOPE__BODY_FAULT:
    case ISLR__ENVELOPE__BODY_OK:
    case ISLR__ENVELOPE__BODY_SUBMITTED:
    case ISLR__ENVELOPE__BODY_RUN_LIST:
    case ISLR__ENVELOPE__BODY_RUN_DETAIL:
    case ISLR__ENVELOPE__BODY_FOLLOW_END:
    case ISLR__ENVELOPE__BODY_RUN_ENDED:
    case ISLR__ENVELOPE__BODY_CHECKPOINT_LIST:
    case ISLR__ENVELOPE__BODY_CHUNK:
    case ISLR__ENVELOPE__BODY_WORKER_LIST:
    case ISLR__ENVELOPE__BODY_STATUS:
    case ISLR__ENVELOPE__BODY_LIMIT_LIST:
    case ISLR__ENVELOPE__BODY_CHANGED:
    case ISLR__ENVELOPE__BODY_COLLECTED:
    case ISLR__ENVELOPE__BODY_REGISTERED:
    case ISLR__ENVELOPE__BODY_PUT_STATE:
    case ISLR__ENVELOPE__BODY_TOKEN_CREATED:
    case ISLR__ENVELOPE__BODY_TOKEN_LIST:
        return 1;
    case ISLR__ENVELOPE__BODY_RECORDS:
    case ISLR__ENVELOPE__BODY_PROGRESS:
        return m->id != 0; // to a follower; a worker's carry 0
    default:
        return 0;
    }
}

int envelope_is_last_reply(const Islr__Envelope *m)
{
    switch (m->body_case) {
    case ISLR__ENVELOPE__BODY_RECORDS:
    case ISLR__ENVELOPE__BODY_PROGRESS:
    case ISLR__ENVELOPE__BODY_RUN_ENDED:
        return 0;
    case ISLR__ENVELOPE__BODY_RUN_LIST:
        return !m->run_list->more;
    case ISLR__ENVELOPE__BODY_CHECKPOINT_LIST:
        return !m->checkpoint_list->more;
    case ISLR__ENVELOPE__BODY_WORKER_LIST:
        return !m->worker_list->more;
    case ISLR__ENVELOPE__BODY_TOKEN_LIST:
        return !m->token_list->more;
    case ISLR__ENVELOPE__BODY_LIMIT_LIST:
        return !m->limit_list->more;
    default:
        return 1;
    }
}

const char *envelope_name(const Islr__Envelope *m)
{
    const ProtobufCFieldDescriptor *f =
        protobuf_c_message_descriptor_get_field(&islr__envelope__descriptor, (unsigned)m->body_case);
    return f ? f->name : "unknown";
}

int envelope_fault_error(const Islr__Fault *fault, struct error *e)
{
    enum error_code code = ERR_FAILED;
    switch (fault->code) {
    case ERR_INVALID:
    case ERR_NOT_FOUND:
    case ERR_UNREACHABLE:
    case ERR_DENIED:
    case ERR_TIMEOUT:
    case ERR_DAMAGED:
    case ERR_INTERRUPTED:
        code = (enum error_code)fault->code;
        break;
    default:
        break;
    }
    return error_set(e, code, "%s", fault->text && *fault->text ? fault->text : "refused without a reason");
}

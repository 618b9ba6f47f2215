// Envelopes: see envelope.h.
#include "core/rpc/envelope.h"

#include <stdlib.h>

#include "core/base/memory.h"
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

// Bytes of the well-formed UTF-8 character at s (RFC 3629: no overlong forms, no surrogates, nothing beyond U+10FFFF);
// 0: there is none.
static int utf8_length(const uint8_t *s)
{
    if (s[0] < 0x80)
        return 1;
    int n = s[0] >= 0xc2 && s[0] <= 0xdf ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : 0;
    for (int i = 1; i < n; i++) // stops at the text's NUL
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

static int utf8_valid(const char *text)
{
    for (const uint8_t *s = (const uint8_t *)text; *s;) {
        int n = utf8_length(s);
        if (!n)
            return 0;
        s += n;
    }
    return 1;
}

void envelope_clean_text(char *text)
{
    for (uint8_t *s = (uint8_t *)text; *s;) {
        int n = utf8_length(s);
        if (!n)
            *s = '?';
        s += n ? n : 1;
    }
}

static const char *bad_text(const ProtobufCMessage *m); // name of the first field that is no UTF-8, or NULL

static const char *bad_text_in_field(const ProtobufCFieldDescriptor *f, void *const *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!values[i])
            continue;
        if (f->type == PROTOBUF_C_TYPE_STRING) {
            if (!utf8_valid(values[i]))
                return f->name;
        } else {
            const char *name = bad_text(values[i]);
            if (name)
                return name;
        }
    }
    return NULL;
}

static const char *bad_text(const ProtobufCMessage *m)
{
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
        const char *name = bad_text_in_field(f, values, count);
        if (name)
            return name;
    }
    return NULL;
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
    const char *name = bad_text(&m->base);
    if (name) {
        error_set(e, ERR_DAMAGED, "the text of the field \"%s\" in a message (%s) is not UTF-8", name,
                  envelope_name(m));
        envelope_free(m);
        return NULL;
    }
    return m;
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
    case ISLR__ENVELOPE__BODY_REGISTERED:
    case ISLR__ENVELOPE__BODY_PUT_STATE:
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
    case ISLR__ENVELOPE__BODY_WORKER_LIST:
        return !m->worker_list->more;
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

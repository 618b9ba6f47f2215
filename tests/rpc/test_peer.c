// One connection under good and bad partners: bytes in pieces, garbage, silence, floods, slow readers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/rpc/frame.h"
#include "core/rpc/protocol.h"
#include "tests/rpc/rig.h"

static uint8_t *packed(Islr__Envelope *m, uint64_t id, size_t *size)
{
    m->has_id = 1;
    m->id = id;
    uint8_t *frame = envelope_pack(m, RPC_FRAME_MAX, size, NULL);
    assert_non_null(frame);
    return frame;
}

static void send_raw(int fd, Islr__Envelope *m, uint64_t id)
{
    size_t size;
    uint8_t *frame = packed(m, id, &size);
    assert_int_equal(write(fd, frame, size), (ssize_t)size);
    free(frame);
}

static void send_hello(int fd)
{
    Islr__Hello hello = ISLR__HELLO__INIT;
    hello.has_protocol = 1;
    hello.protocol = RPC_PROTOCOL;
    Islr__Envelope m = ENVELOPE(HELLO, hello, &hello);
    send_raw(fd, &m, 1);
}

// The next message on a raw socket, while the rig's loop runs; NULL at the end of the stream.
static Islr__Envelope *next_raw(struct rig *r, int fd, struct frame_reader *reader)
{
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (int tries = 0; tries < 1000000; tries++) {
        uint8_t byte;
        ssize_t n = read(fd, &byte, 1);
        if (n == 0)
            return NULL;
        if (n < 0) {
            assert_int_equal(errno, EAGAIN);
            uv_run(&r->loop, UV_RUN_NOWAIT);
            continue;
        }
        const uint8_t *at = &byte;
        size_t size = 1;
        reader->limit = RPC_FRAME_MAX;
        if (frame_reader_take(reader, &at, &size, NULL) > 0) {
            Islr__Envelope *m = envelope_unpack(reader->body, reader->length, 16 << 20, NULL);
            assert_non_null(m);
            return m;
        }
    }
    fail_msg("nothing came");
    return NULL;
}

static void count_message(struct rig *r, struct peer *p, Islr__Envelope *m)
{
    int *count = r->context;
    ++*count;
    peer_reply_ok(p, m->id);
}

static void bytes_in_single_steps(void **state)
{
    struct rig r = {.on_message = count_message};
    int count = 0;
    Islr__GetStatus get = ISLR__GET_STATUS__INIT;
    Islr__Envelope m = ENVELOPE(GET_STATUS, get_status, &get);
    size_t size;
    (void)state;
    rig_open(&r);
    r.context = &count;
    int fd = rig_connect_raw(&r);
    send_hello(fd);
    uint8_t *frame = packed(&m, 2, &size);
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(count, 0);
        assert_int_equal(write(fd, frame + i, 1), 1);
        rig_run_for(&r, 1);
    }
    free(frame);
    rig_run_until(&r, &count);
    struct frame_reader reader = {0};
    Islr__Envelope *answer = next_raw(&r, fd, &reader);
    assert_int_equal(answer->body_case, ISLR__ENVELOPE__BODY_WELCOME);
    assert_int_equal(answer->id, 1);
    envelope_free(answer);
    answer = next_raw(&r, fd, &reader);
    assert_int_equal(answer->body_case, ISLR__ENVELOPE__BODY_OK);
    assert_int_equal(answer->id, 2);
    envelope_free(answer);
    frame_reader_free(&reader);
    assert_true(peer_identity(r.server)->known);
    assert_int_equal(peer_identity(r.server)->uid, geteuid());
    assert_int_equal(peer_identity(r.server)->pid, getpid());
    close(fd);
    rig_run_until(&r, &r.ended);
    assert_int_equal(r.ended_why.code, ERR_NONE);
    rig_close(&r);
}

// Each row is sent after the connection (and, if so marked, a greeting); the server must hang up with a Fault of this
// code.
static void garbage_ends_the_connection(void **state)
{
    static const struct {
        const char *name;
        int greet;
        const char *bytes;
        size_t size;
        enum error_code code;
    } rows[] = {
        {"http", 0, "GET / HTTP/1.1\r\n\r\n", 18, ERR_DAMAGED},
        {"empty frame", 0, "\0\0\0\0", 4, ERR_DAMAGED},
        {"stranger's large frame", 0, "\0\1\0\1", 4, ERR_DAMAGED},
        {"no protobuf", 0, "\0\0\0\3\xff\xff\xff", 7, ERR_DAMAGED},
        {"not hello", 0, "\0\0\0\3\xe2\x01\0", 7, ERR_DENIED}, // get_status
        {"unknown first", 0, "\0\0\0\4\x08\x01\xf8\x7f", 8, ERR_DAMAGED},
        {"too large later", 1, "\0\x10\0\1", 4, ERR_DAMAGED},
        {"no protobuf later", 1, "\0\0\0\2\x52\x09", 6, ERR_DAMAGED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig r = {0};
        struct frame_reader reader = {0};
        rig_open(&r);
        int fd = rig_connect_raw(&r);
        if (rows[i].greet) {
            send_hello(fd);
            envelope_free(next_raw(&r, fd, &reader));
        }
        assert_int_equal(write(fd, rows[i].bytes, rows[i].size), (ssize_t)rows[i].size);
        Islr__Envelope *m = next_raw(&r, fd, &reader);
        if (!m || m->body_case != ISLR__ENVELOPE__BODY_FAULT || m->id != 0 || m->fault->code != rows[i].code)
            fail_msg("%s: %s %u %s", rows[i].name, m ? envelope_name(m) : "end", m && m->fault ? m->fault->code : 0,
                     m && m->fault ? m->fault->text : "");
        envelope_free(m);
        close(fd); // the server has waited for this
        rig_run_until(&r, &r.ended);
        assert_int_equal(r.ended_why.code, rows[i].code);
        frame_reader_free(&reader);
        rig_close(&r);
    }
}

static void cut_off_inside_a_message(void **state)
{
    struct rig r = {0};
    (void)state;
    rig_open(&r);
    int fd = rig_connect_raw(&r);
    send_hello(fd);
    assert_int_equal(write(fd, "\0\0\1\0abc", 7), 7);
    rig_run_for(&r, 20);
    assert_int_equal(r.ended, 0);
    close(fd);
    rig_run_until(&r, &r.ended);
    assert_int_not_equal(r.ended_why.code, ERR_NONE);
    rig_close(&r);
}

// A newer program's message gets an answer and does no harm.
static void unknown_message_is_answered(void **state)
{
    struct rig r = {0};
    struct frame_reader reader = {0};
    (void)state;
    rig_open(&r);
    int fd = rig_connect_raw(&r);
    send_hello(fd);
    envelope_free(next_raw(&r, fd, &reader));
    assert_int_equal(write(fd, "\0\0\0\6\x08\x05\xfa\xff\x3f\0", 10), 10);
    Islr__Envelope *m = next_raw(&r, fd, &reader);
    assert_int_equal(m->body_case, ISLR__ENVELOPE__BODY_FAULT);
    assert_int_equal(m->id, 5);
    envelope_free(m);
    Islr__Ping ping = ISLR__PING__INIT;
    Islr__Envelope again = ENVELOPE(PING, ping, &ping);
    send_raw(fd, &again, 6);
    m = next_raw(&r, fd, &reader);
    assert_int_equal(m->body_case, ISLR__ENVELOPE__BODY_OK);
    assert_int_equal(m->id, 6);
    envelope_free(m);
    frame_reader_free(&reader);
    close(fd);
    rig_run_until(&r, &r.ended);
    rig_close(&r);
}

// ---- floods and slow readers ----------------------------------------------------------------------------------------

struct flood {
    uint64_t answered;
    int drained;
    size_t most;
};

static void answer_large(struct rig *r, struct peer *p, Islr__Envelope *m)
{
    static uint8_t bytes[RPC_CHUNK_MAX];
    struct flood *f = r->context;
    Islr__Chunk chunk = ISLR__CHUNK__INIT;
    chunk.has_data = chunk.has_offset = 1;
    chunk.data = (ProtobufCBinaryData){sizeof bytes, bytes};
    chunk.offset = m->id;
    Islr__Envelope answer = ENVELOPE(CHUNK, chunk, &chunk);
    assert_int_equal(peer_reply(p, m->id, &answer, NULL), 0);
    f->answered++;
    f->most = peer_queued(p) > f->most ? peer_queued(p) : f->most;
}

static void note_drained(struct rig *r, struct peer *p)
{
    struct flood *f = r->context;
    assert_false(peer_is_full(p));
    f->drained++;
}

// 200 requests for 50 MB in all, in one go, by a client that does not read: the server stops listening to it, its queue
// stays bounded, and once the client reads everything comes, in order.
static void requests_wait_while_answers_do(void **state)
{
    enum { COUNT = 200 };
    struct flood f = {0};
    struct rig r = {.on_message = answer_large, .on_drained = note_drained, .context = &f};
    struct frame_reader reader = {0};
    (void)state;
    rig_open(&r);
    int fd = rig_connect_raw(&r);
    send_hello(fd);
    Islr__GetStatus get = ISLR__GET_STATUS__INIT;
    Islr__Envelope m = ENVELOPE(GET_STATUS, get_status, &get);
    for (uint64_t i = 0; i < COUNT; i++)
        send_raw(fd, &m, 2 + i);
    while (!r.server || !peer_is_full(r.server))
        uv_run(&r.loop, UV_RUN_ONCE);
    rig_run_for(&r, 50); // for more, if it listened
    assert_true(f.answered < 20);
    assert_true(peer_is_full(r.server));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    uint8_t *buffer = xmalloc(1 << 20);
    uint64_t next = 1;
    while (next < 2 + COUNT) {
        ssize_t n = read(fd, buffer, 1 << 20);
        if (n < 0) {
            assert_int_equal(errno, EAGAIN);
            uv_run(&r.loop, UV_RUN_NOWAIT);
            continue;
        }
        assert_true(n > 0);
        const uint8_t *at = buffer;
        size_t size = (size_t)n;
        reader.limit = RPC_FRAME_MAX;
        while (frame_reader_take(&reader, &at, &size, NULL) > 0) {
            Islr__Envelope *answer = envelope_unpack(reader.body, reader.length, 16 << 20, NULL);
            assert_int_equal(answer->id, next++);
            envelope_free(answer);
        }
    }
    assert_int_equal(f.answered, COUNT);
    assert_true(f.drained > 1);
    assert_true(f.most < RPC_QUEUE_HIGH + 2 * RPC_CHUNK_MAX);
    free(buffer);
    frame_reader_free(&reader);
    close(fd);
    rig_run_until(&r, &r.ended);
    rig_close(&r);
}

static void answer_too_large(struct rig *r, struct peer *p, Islr__Envelope *m)
{
    static uint8_t bytes[RPC_FRAME_MAX];
    int *refused = r->context;
    struct error e;
    Islr__Chunk chunk = ISLR__CHUNK__INIT;
    Islr__Envelope answer = ENVELOPE(CHUNK, chunk, &chunk);
    chunk.has_data = 1;
    chunk.data = (ProtobufCBinaryData){sizeof bytes, bytes};
    *refused = peer_reply(p, m->id, &answer, &e);
    assert_int_equal(e.code, ERR_FAILED);
}

// Who asked for more than a frame holds hears that, and does not wait for ever; the connection goes on.
static void answer_larger_than_a_frame_is_a_fault(void **state)
{
    int refused = 0;
    struct rig r = {.on_message = answer_too_large, .context = &refused};
    struct frame_reader reader = {0};
    Islr__GetStatus get = ISLR__GET_STATUS__INIT;
    Islr__Envelope m = ENVELOPE(GET_STATUS, get_status, &get);
    (void)state;
    rig_open(&r);
    int fd = rig_connect_raw(&r);
    send_hello(fd);
    envelope_free(next_raw(&r, fd, &reader));
    for (uint64_t id = 2; id < 4; id++) {
        send_raw(fd, &m, id);
        Islr__Envelope *answer = next_raw(&r, fd, &reader);
        assert_int_equal(answer->body_case, ISLR__ENVELOPE__BODY_FAULT);
        assert_int_equal(answer->id, id);
        assert_int_equal(answer->fault->code, ERR_FAILED);
        assert_non_null(strstr(answer->fault->text, "(chunk) of 10485"));
        assert_non_null(strstr(answer->fault->text, "is larger than the 1048576"));
        envelope_free(answer);
        assert_int_equal(refused, -1);
    }
    frame_reader_free(&reader);
    close(fd);
    rig_run_until(&r, &r.ended);
    rig_close(&r);
}

// Who pushes without looking at peer_is_full() loses the connection, not the memory.
static void slow_reader_is_dropped(void **state)
{
    struct rig r = {0};
    static uint8_t bytes[RPC_CHUNK_MAX];
    struct error e = {0};
    (void)state;
    rig_open(&r);
    int fd = rig_connect_raw(&r), pushed = 0;
    send_hello(fd);
    rig_run_until(&r, &r.greeted);
    Islr__Chunk chunk = ISLR__CHUNK__INIT;
    chunk.has_data = 1;
    chunk.data = (ProtobufCBinaryData){sizeof bytes, bytes};
    Islr__Envelope m = ENVELOPE(CHUNK, chunk, &chunk);
    while (!peer_send(r.server, &m, &e))
        assert_true(++pushed < 100);
    assert_int_equal(e.code, ERR_UNREACHABLE);
    rig_run_until(&r, &r.ended);
    assert_non_null(strstr(r.ended_why.text, "slow"));
    close(fd);
    rig_close(&r);
}

static void throttled_peer_hears_nothing(void **state)
{
    struct rig r = {.on_message = count_message};
    int count = 0;
    Islr__GetStatus get = ISLR__GET_STATUS__INIT;
    Islr__Envelope m = ENVELOPE(GET_STATUS, get_status, &get);
    (void)state;
    rig_open(&r);
    r.context = &count;
    int fd = rig_connect_raw(&r);
    send_hello(fd);
    rig_run_until(&r, &r.greeted);
    peer_throttle(r.server, 1);
    for (int i = 0; i < 10; i++)
        send_raw(fd, &m, 2);
    rig_run_for(&r, 20);
    assert_int_equal(count, 0);
    peer_throttle(r.server, 0);
    while (count < 10)
        uv_run(&r.loop, UV_RUN_ONCE);
    close(fd);
    rig_run_until(&r, &r.ended);
    rig_close(&r);
}

static void throttle_after_each(struct rig *r, struct peer *p, Islr__Envelope *m)
{
    count_message(r, p, m);
    peer_throttle(p, 1);
}

// What had arrived when a peer was throttled is delivered by the loop, not by who lifts the throttle: that may be in
// the middle of dealing with the message before.
static void throttle_is_lifted_without_a_delivery(void **state)
{
    struct rig r = {.on_message = throttle_after_each};
    int count = 0;
    Islr__GetStatus get = ISLR__GET_STATUS__INIT;
    Islr__Envelope m = ENVELOPE(GET_STATUS, get_status, &get);
    (void)state;
    rig_open(&r);
    r.context = &count;
    int fd = rig_connect_raw(&r);
    send_hello(fd);
    for (int i = 0; i < 10; i++)
        send_raw(fd, &m, 2);
    rig_run_until(&r, &count);
    for (int i = 1; i <= 10; i++) {
        assert_int_equal(count, i);
        peer_throttle(r.server, 0);
        assert_int_equal(count, i);
        while (count == i && i < 10)
            uv_run(&r.loop, UV_RUN_ONCE);
    }
    close(fd);
    rig_run_until(&r, &r.ended);
    rig_close(&r);
}

// ---- time -----------------------------------------------------------------------------------------------------------

enum { IDLE_MS = 150 };

static int is_over(uint64_t since)
{
    return uv_hrtime() - since >= (IDLE_MS - 2) * UINT64_C(1000000); // the loop's time is in whole milliseconds
}

// Whether it was heard before it was taken for silent: the machine may stand still meanwhile.
static int says_something(struct rig *r, int fd, struct frame_reader *reader)
{
    Islr__Ping ping = ISLR__PING__INIT;
    Islr__Envelope m = ENVELOPE(PING, ping, &ping);
    uint64_t greeted = uv_hrtime();
    peer_set_keepalive(r->server, 0, IDLE_MS);
    rig_run_for(r, IDLE_MS / 2);
    uint64_t said = uv_hrtime();
    if (!r->ended)
        send_raw(fd, &m, 9);
    Islr__Envelope *answer = r->ended ? NULL : next_raw(r, fd, reader);
    int heard = answer && answer->body_case == ISLR__ENVELOPE__BODY_OK;
    envelope_free(answer);
    rig_run_until(r, &r->ended);
    assert_int_equal(r->ended_why.code, ERR_TIMEOUT);
    assert_true(is_over(heard ? said : greeted));
    return heard;
}

static void silent_partner_is_dropped(void **state)
{
    (void)state;
    for (int heard = 0, tries = 0; !heard; tries++) {
        struct rig r = {0};
        struct frame_reader reader = {0};
        assert_true(tries < 100);
        rig_open(&r);
        int fd = rig_connect_raw(&r);
        send_hello(fd);
        envelope_free(next_raw(&r, fd, &reader));
        heard = says_something(&r, fd, &reader);
        frame_reader_free(&reader);
        close(fd);
        rig_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_in_single_steps),          cmocka_unit_test(garbage_ends_the_connection),
        cmocka_unit_test(cut_off_inside_a_message),       cmocka_unit_test(unknown_message_is_answered),
        cmocka_unit_test(requests_wait_while_answers_do), cmocka_unit_test(slow_reader_is_dropped),
        cmocka_unit_test(throttled_peer_hears_nothing),   cmocka_unit_test(throttle_is_lifted_without_a_delivery),
        cmocka_unit_test(silent_partner_is_dropped),      cmocka_unit_test(answer_larger_than_a_frame_is_a_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

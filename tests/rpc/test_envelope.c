// Envelopes: what is packed comes back, damaged bytes are refused within the memory cap, texts are UTF-8.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/random.h"
#include "core/rpc/envelope.h"
#include "core/rpc/frame.h"
#include "core/rpc/protocol.h"

// A message with everything in it that a client can send at length.
static uint8_t *sample(size_t *size)
{
    Islr__Data data = ISLR__DATA__INIT;
    data.path = "/data/\xc3\xa4\xe2\x82\xac\xf0\x9f\xa4\x9f";
    data.has_k = 1;
    data.k = 4;
    uint32_t widths[] = {1024, 1280, 1536, 1536};
    Islr__Model model = ISLR__MODEL__INIT;
    model.n_widths = 4;
    model.widths = widths;
    Islr__JobSpec job = ISLR__JOB_SPEC__INIT;
    job.name = "a name";
    job.data = &data;
    job.model = &model;
    char *models[] = {"one", "two"};
    job.n_models = 2;
    job.models = models;
    uint64_t after[] = {1, 1u << 31, UINT64_MAX};
    Islr__Submit submit = ISLR__SUBMIT__INIT;
    submit.job = &job;
    submit.key = "key";
    submit.n_after = 3;
    submit.after = after;
    Islr__Envelope m = ENVELOPE(SUBMIT, submit, &submit);
    m.has_id = 1;
    m.id = 77;
    struct error e = {0};
    uint8_t *frame = envelope_pack(&m, RPC_FRAME_MAX, size, &e);
    assert_non_null(frame);
    return frame;
}

static void comes_back(void **state)
{
    size_t size;
    uint8_t *frame = sample(&size);
    struct error e = {0};
    (void)state;
    Islr__Envelope *m = envelope_unpack(frame + FRAME_HEADER_SIZE, size - FRAME_HEADER_SIZE, 1 << 20, &e);
    assert_non_null(m);
    assert_int_equal(m->id, 77);
    assert_string_equal(envelope_name(m), "submit");
    assert_false(envelope_is_reply(m));
    assert_string_equal(m->submit->job->data->path, "/data/\xc3\xa4\xe2\x82\xac\xf0\x9f\xa4\x9f");
    assert_int_equal(m->submit->job->model->n_widths, 4);
    assert_int_equal(m->submit->after[2], UINT64_MAX);
    assert_string_equal(m->submit->job->models[1], "two");
    envelope_free(m);
    free(frame);
}

static void refuses_to_send_more_than_a_frame(void **state)
{
    Islr__Chunk chunk = ISLR__CHUNK__INIT;
    uint8_t *bytes = xcalloc(1, RPC_FRAME_MAX);
    struct error e = {0};
    size_t size;
    (void)state;
    chunk.has_data = 1;
    chunk.data = (ProtobufCBinaryData){RPC_FRAME_MAX, bytes};
    Islr__Envelope m = ENVELOPE(CHUNK, chunk, &chunk);
    assert_null(envelope_pack(&m, RPC_FRAME_MAX, &size, &e));
    assert_int_equal(e.code, ERR_INVALID);
    assert_non_null(strstr(e.text, "chunk"));
    chunk.data.len = RPC_CHUNK_MAX;
    uint8_t *frame = envelope_pack(&m, RPC_FRAME_MAX, &size, &e);
    assert_non_null(frame);
    free(frame);
    free(bytes);
}

// Damage never crashes, leaks or asks for much: every prefix, every byte changed, and noise.
static void damage_is_harmless(void **state)
{
    size_t size;
    uint8_t *frame = sample(&size), *body = frame + FRAME_HEADER_SIZE;
    struct rng rng = rng_make(3, RNG_BENCH, 0, 0, 0);
    size_t refused = 0;
    (void)state;
    size -= FRAME_HEADER_SIZE;
    for (size_t n = 0; n < size; n++) {
        uint8_t *copy = xmalloc(n ? n : 1);
        memcpy(copy, body, n);
        struct error e = {0};
        Islr__Envelope *m = envelope_unpack(copy, n, 1 << 20, &e);
        refused += !m;
        assert_true(m || e.code == ERR_DAMAGED);
        envelope_free(m);
        free(copy);
    }
    assert_true(refused > size / 2);
    for (size_t i = 0; i < size; i++)
        for (int v = 0; v < 256; v++) {
            uint8_t old = body[i];
            body[i] = (uint8_t)v;
            envelope_free(envelope_unpack(body, size, 1 << 20, NULL));
            body[i] = old;
        }
    for (int round = 0; round < 20000; round++) {
        uint8_t noise[64];
        size_t n = rng_below(&rng, sizeof noise + 1);
        for (size_t i = 0; i < n; i++)
            noise[i] = (uint8_t)rng_below(&rng, 256);
        envelope_free(envelope_unpack(noise, n, 1 << 20, NULL));
    }
    free(frame);
}

// Two bytes on the wire can ask for a message of some hundred: the cap holds.
static void memory_is_capped(void **state)
{
    enum { COUNT = 200000 };
    uint8_t *body = xmalloc(2 * COUNT + 16), *at = body;
    (void)state;
    *at++ = (13 << 3 & 0x7f) | 2; // run_list
    uint32_t inner = 2 * COUNT;
    for (; inner >= 0x80; inner >>= 7)
        *at++ = (uint8_t)(inner | 0x80);
    *at++ = (uint8_t)inner;
    for (int i = 0; i < COUNT; i++) {
        *at++ = 1 << 3 | 2; // an empty RunSummary
        *at++ = 0;
    }
    struct error e = {0};
    assert_null(envelope_unpack(body, (size_t)(at - body), 4 << 20, &e));
    assert_int_equal(e.code, ERR_DAMAGED);
    Islr__Envelope *m = envelope_unpack(body, (size_t)(at - body), (size_t)COUNT * 400, &e);
    assert_non_null(m); // the same bytes, with room for them
    assert_int_equal(m->run_list->n_runs, COUNT);
    envelope_free(m);
    free(body);
}

static void texts_are_utf8(void **state)
{
    static const char *const bad[] = {
        "\x80", "a\xc3",    "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf0\x80\x80\xaf", "\xf4\x90\x80\x80",
        "\xff", "\xe2\x82",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Islr__Hello hello = ISLR__HELLO__INIT;
        hello.token = (char *)bad[i];
        Islr__Envelope m = ENVELOPE(HELLO, hello, &hello);
        struct error e = {0};
        size_t size;
        uint8_t *frame = envelope_pack(&m, RPC_FRAME_MAX, &size, &e);
        assert_null(envelope_unpack(frame + FRAME_HEADER_SIZE, size - FRAME_HEADER_SIZE, 1 << 20, &e));
        assert_non_null(strstr(e.text, "token"));
        free(frame);
        char text[16];
        strcpy(text, bad[i]);
        envelope_clean_text(text);
        assert_int_equal(strlen(text), strlen(bad[i]));
        assert_non_null(strchr(text, '?'));
        hello.token = text;
        frame = envelope_pack(&m, RPC_FRAME_MAX, &size, &e);
        Islr__Envelope *back = envelope_unpack(frame + FRAME_HEADER_SIZE, size - FRAME_HEADER_SIZE, 1 << 20, &e);
        assert_non_null(back);
        envelope_free(back);
        free(frame);
    }
    char good[] = "ascii \xc3\xa4\xe2\x82\xac\xf0\x9f\xa4\x9f\xef\xbf\xbd";
    char copy[sizeof good];
    memcpy(copy, good, sizeof good);
    envelope_clean_text(good);
    assert_string_equal(good, copy);
}

static void repeated_text_is_checked_too(void **state)
{
    char *names[] = {"fine", "\xff"};
    double values[] = {1, 2};
    Islr__MetricPoint point = ISLR__METRIC_POINT__INIT;
    point.n_names = 2;
    point.names = names;
    point.n_values = 2;
    point.values = values;
    Islr__Record record = ISLR__RECORD__INIT, *list[] = {&record};
    record.what_case = ISLR__RECORD__WHAT_METRIC;
    record.metric = &point;
    Islr__Records records = ISLR__RECORDS__INIT;
    records.n_records = 1;
    records.records = list;
    Islr__Envelope m = ENVELOPE(RECORDS, records, &records);
    struct error e = {0};
    size_t size;
    (void)state;
    uint8_t *frame = envelope_pack(&m, RPC_FRAME_MAX, &size, &e);
    assert_null(envelope_unpack(frame + FRAME_HEADER_SIZE, size - FRAME_HEADER_SIZE, 1 << 20, &e));
    assert_non_null(strstr(e.text, "names"));
    free(frame);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back),         cmocka_unit_test(refuses_to_send_more_than_a_frame),
        cmocka_unit_test(damage_is_harmless), cmocka_unit_test(memory_is_capped),
        cmocka_unit_test(texts_are_utf8),     cmocka_unit_test(repeated_text_is_checked_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

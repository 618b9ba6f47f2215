// What ranks say: see rig.h.
#include "tests/serve/rig.h"

#include <stdio.h>

#include "core/base/memory.h"

void rank_introduce(struct actor *a, const char *world, uint32_t rank, uint32_t size)
{
    islr__register__init(&a->facts);
    snprintf(a->world, sizeof a->world, "%s", world);
    a->facts.world = a->world;
    a->facts.has_rank = a->facts.has_size = a->facts.has_pid = 1;
    a->facts.rank = rank;
    a->facts.size = size;
    a->facts.pid = 1000 + rank;
    a->facts.host = (char *)"node1";
    a->facts.device = (char *)"cpu";
    envelope_free(rank_register(a, 0, 0));
}

void rank_open(struct actor *a, struct rig *rig, const char *world, uint32_t rank, uint32_t size)
{
    actor_open(a, rig, ISLR__HELLO__ROLE__ROLE_WORKER);
    rank_introduce(a, world, rank, size);
}

Islr__Envelope *rank_register(struct actor *a, uint64_t run, uint32_t attempt)
{
    Islr__Envelope m = ENVELOPE(REGISTER, register_, &a->facts);
    a->facts.has_run = a->facts.has_attempt = 1;
    a->facts.run = run;
    a->facts.attempt = attempt;
    Islr__Envelope *answer = actor_call(a, &m, ISLR__ENVELOPE__BODY_REGISTERED);
    peer_set_keepalive(actor_peer(a), answer->registered->lease_ms / 3, 0);
    return answer;
}

Islr__Envelope *rank_take(struct actor *a, int take)
{
    Islr__Envelope *m = actor_next(a, ISLR__ENVELOPE__BODY_ASSIGN);
    struct error e;
    error_set(&e, ERR_FAILED, "the disk of this node is full");
    if (take)
        peer_reply_ok(actor_peer(a), m->id);
    else
        peer_reply_fault(actor_peer(a), m->id, &e);
    return m;
}

void rank_records(struct actor *a, uint64_t run, uint32_t attempt, uint64_t first, size_t count)
{
    Islr__Records records = ISLR__RECORDS__INIT;
    Islr__Envelope m = ENVELOPE(RECORDS, records, &records);
    Islr__Record *list = xcalloc(count, sizeof *list), **pointers = xcalloc(count, sizeof *pointers);
    Islr__MetricPoint *points = xcalloc(count, sizeof *points);
    static char *names[] = {"loss/student"}, line[] = "a line";
    static double value = 0.5;
    records.has_run = records.has_attempt = 1;
    records.run = run;
    records.attempt = attempt;
    records.records = pointers;
    records.n_records = count;
    for (size_t i = 0; i < count; i++) {
        Islr__Record *r = pointers[i] = &list[i];
        islr__record__init(r);
        r->has_seq = r->has_time_ms = 1;
        r->seq = first + i;
        r->time_ms = 1;
        if (r->seq % 2) {
            r->what_case = ISLR__RECORD__WHAT_LOG;
            r->log = line;
            continue;
        }
        islr__metric_point__init(&points[i]);
        points[i].has_step = 1;
        points[i].step = r->seq;
        points[i].names = names;
        points[i].n_names = points[i].n_values = 1;
        points[i].values = &value;
        r->what_case = ISLR__RECORD__WHAT_METRIC;
        r->metric = &points[i];
    }
    actor_send(a, &m);
    free(points);
    free(pointers);
    free(list);
    Islr__Envelope *ack;
    do {
        ack = actor_next(a, ISLR__ENVELOPE__BODY_RECORDS_ACK);
        count = ack->records_ack->seq >= first + count - 1 ? 0 : count;
        envelope_free(ack);
    } while (count);
}

void rank_finish(struct actor *a, uint64_t run, uint32_t attempt, Islr__Finished__Outcome outcome, int retryable)
{
    Islr__Finished f = ISLR__FINISHED__INIT;
    Islr__Envelope m = ENVELOPE(FINISHED, finished, &f);
    f.has_run = f.has_attempt = f.has_outcome = f.has_retryable = 1;
    f.run = run;
    f.attempt = attempt;
    f.outcome = outcome;
    f.retryable = retryable;
    f.reason = (char *)"as the test says";
    actor_call_ok(a, &m);
}

struct hash rank_put(struct actor *a, const void *data, size_t size)
{
    struct hash hash = hash_memory(data, size);
    Islr__Put put = ISLR__PUT__INIT;
    Islr__Envelope m = ENVELOPE(PUT, put, &put);
    int done = 0;
    put.has_sha256 = put.has_total = put.has_offset = 1;
    put.sha256 = (ProtobufCBinaryData){sizeof hash.bytes, hash.bytes};
    put.total = size;
    while (!done) {
        Islr__Envelope *reply = actor_call(a, &m, ISLR__ENVELOPE__BODY_PUT_STATE);
        done = reply->put_state->done;
        put.offset = reply->put_state->have;
        put.has_data = 1;
        put.data.data = (uint8_t *)data + put.offset;
        put.data.len = size - put.offset < 100000 ? size - put.offset : 100000;
        envelope_free(reply);
    }
    return hash;
}

static void add_checkpoint(struct actor *a, uint64_t run, uint32_t attempt, const char *what, uint32_t epoch,
                           uint64_t step, const struct hash *hash)
{
    Islr__CheckpointInfo info = ISLR__CHECKPOINT_INFO__INIT;
    Islr__AddCheckpoint add = ISLR__ADD_CHECKPOINT__INIT;
    Islr__Envelope m = ENVELOPE(ADD_CHECKPOINT, add_checkpoint, &add);
    info.what = (char *)what;
    info.has_step = info.has_sha256 = info.has_epoch = 1;
    info.epoch = epoch;
    info.step = step;
    info.sha256 = (ProtobufCBinaryData){sizeof hash->bytes, (uint8_t *)hash->bytes};
    add.has_run = add.has_attempt = 1;
    add.run = run;
    add.attempt = attempt;
    add.checkpoint = &info;
    actor_call_ok(a, &m);
}

void rank_checkpoint(struct actor *a, uint64_t run, uint32_t attempt, const char *what, uint64_t step,
                     const struct hash *hash)
{
    add_checkpoint(a, run, attempt, what, 0, step, hash);
}

struct hash rank_epoch(struct actor *a, uint64_t run, uint32_t attempt, uint32_t epoch, const void *data, size_t size)
{
    struct hash hash = rank_put(a, data, size);
    add_checkpoint(a, run, attempt, "distilled", epoch, 10 * epoch, &hash);
    return hash;
}

void rank_bulky_epoch(struct actor *a, uint64_t run, uint32_t attempt, uint32_t epoch, const struct hash *hash)
{
    enum { FIGURES = 250 };
    static char names[FIGURES][110];
    Islr__CheckpointInfo info = ISLR__CHECKPOINT_INFO__INIT;
    Islr__AddCheckpoint add = ISLR__ADD_CHECKPOINT__INIT;
    Islr__Envelope m = ENVELOPE(ADD_CHECKPOINT, add_checkpoint, &add);
    Islr__Value values[FIGURES], *list[FIGURES];
    for (int i = 0; i < FIGURES; i++) {
        snprintf(names[i], sizeof names[i], "%0100d", i);
        islr__value__init(list[i] = &values[i]);
        values[i].name = names[i];
        values[i].has_value = 1;
        values[i].value = i;
    }
    info.what = (char *)"distilled";
    info.has_sha256 = info.has_epoch = add.has_run = add.has_attempt = 1;
    info.sha256 = (ProtobufCBinaryData){sizeof hash->bytes, (uint8_t *)hash->bytes};
    info.epoch = epoch;
    info.metrics = list;
    info.n_metrics = FIGURES;
    add.run = run;
    add.attempt = attempt;
    add.checkpoint = &info;
    actor_call_ok(a, &m);
}

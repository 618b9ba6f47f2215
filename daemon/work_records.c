// Records from the spool to the server: a bounded number on the way, each acknowledged when it is durable there.
#include "core/base/memory.h"
#include "core/rpc/protocol.h"
#include "daemon/work_delivery_internal.h"

enum {
    BATCH_RECORDS = 1000, // of one message
    BATCH_BYTES = 128 << 10,
    UNDER_WAY = 8000 // records sent and not acknowledged
};

uint64_t work_records_total(const struct work_delivery *d)
{
    return d->spool ? spool_count(d->spool) : 0;
}

// The disk has lost what was to be delivered. This process cannot make it good: it ends, and another attempt will.
static void fail(struct work_delivery *d, const struct error *why)
{
    log_error(d->net->options.log, "run %llu: %s", (unsigned long long)d->run, why->text);
    d->abandoned = 1;
    work_net_end(d->net, why);
}

// -1: the spool cannot be read.
static int send_batch(struct work_delivery *d, struct peer *p, struct error *e)
{
    Islr__Record *list[BATCH_RECORDS];
    struct spool_cursor next = d->sent;
    int n = spool_read(d->spool, &next, list, BATCH_RECORDS, BATCH_BYTES, e);
    if (n < 0)
        return -1;
    Islr__Records records = ISLR__RECORDS__INIT;
    Islr__Envelope m = ENVELOPE(RECORDS, records, &records);
    records.has_run = records.has_attempt = 1;
    records.run = d->run;
    records.attempt = d->attempt;
    records.n_records = (size_t)n;
    records.records = list;
    int sent = !peer_send(p, &m, NULL); // else the connection is closing: again after the next registration
    for (int i = 0; i < n; i++)
        islr__record__free_unpacked(list[i], NULL);
    if (sent)
        d->sent = next;
    return sent;
}

void work_records_pump(struct work_net *n)
{
    struct work_delivery *d = n->delivery;
    struct peer *p = work_net_peer(n);
    struct error e;
    int going = 1;
    while (going > 0 && p && d->sent.seq <= work_records_total(d) && d->sent.seq - d->acked.seq < UNDER_WAY &&
           !peer_is_full(p))
        going = send_batch(d, p, &e);
    if (going < 0)
        fail(d, &e);
}

void work_records_acked(struct work_net *n, uint64_t seq)
{
    struct work_delivery *d = n->delivery;
    struct error e;
    if (seq < d->acked.seq)
        return;
    if (seq > work_records_total(d)) {
        log_warn(n->options.log, "the server acknowledges record %llu of run %llu, which has %llu",
                 (unsigned long long)seq, (unsigned long long)d->run, (unsigned long long)work_records_total(d));
        return;
    }
    if (spool_skip(d->spool, &d->acked, seq + 1, &e))
        fail(d, &e);
    else if (d->spool)
        spool_forget(d->spool, &d->acked);
    if (d->sent.seq < d->acked.seq)
        d->sent = d->acked;
}

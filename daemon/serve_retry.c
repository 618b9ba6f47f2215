// Requests to the store that must happen: see serve_retry.h. The store's writer has said what the trouble is (store.c
// logs it once), so nothing is said here.
#include "daemon/serve_retry.h"

#include "daemon/serve_server.h"

static void again(uv_timer_t *timer)
{
    struct server *s = timer->data;
    struct store_op *op = s->retries.first, *reversed = NULL;
    s->retries.first = NULL;
    while (op) { // newest first so far: queue them in the order in which they came
        struct store_op *next = op->next;
        op->next = reversed;
        reversed = op;
        op = next;
    }
    while (reversed) {
        struct store_op *next = reversed->next;
        server_queue(s, reversed);
        reversed = next;
    }
}

void retry_open(struct server *s)
{
    uv_timer_init(s->loop, &s->retries.timer);
    s->retries.timer.data = s;
}

int retry_later(struct server *s, struct store_op *op)
{
    if (op->status != STORE_TROUBLE || s->stopping)
        return 0;
    s->pending--; // until it is queued again
    op->next = s->retries.first;
    s->retries.first = op;
    if (!uv_is_active((uv_handle_t *)&s->retries.timer))
        uv_timer_start(&s->retries.timer, again, RETRY_MS, 0);
    return 1;
}

void retry_stop(struct server *s)
{
    uv_timer_stop(&s->retries.timer);
    while (s->retries.first) {
        struct store_op *op = s->retries.first;
        s->retries.first = op->next;
        s->pending++; // as if it had been queued and just come back
        op->done(op);
    }
}

void retry_close(struct server *s, uv_close_cb closed)
{
    uv_close((uv_handle_t *)&s->retries.timer, closed);
}

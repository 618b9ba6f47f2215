// Requests of ours and the replies to them.
#include <stdlib.h>

#include "core/base/memory.h"
#include "core/rpc/peer_internal.h"

uint64_t peer_request(struct peer *p, Islr__Envelope *m, uint64_t timeout_ms, peer_reply_fn on_reply, void *context,
                      struct error *e)
{
    m->has_id = 1;
    m->id = ++p->last_id;
    if (peer_send(p, m, e))
        return 0;
    struct pending *r = xcalloc(1, sizeof *r);
    r->id = m->id;
    r->deadline = timeout_ms ? peer_now(p) + timeout_ms : 0;
    r->on_reply = on_reply;
    r->context = context;
    r->next = p->pending;
    p->pending = r;
    peer_timer_arm(p);
    return r->id;
}

static struct pending **find_request(struct peer *p, uint64_t id)
{
    struct pending **at = &p->pending;
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

void peer_forget(struct peer *p, uint64_t id)
{
    struct pending **at = find_request(p, id), *r = *at;
    if (!r)
        return;
    *at = r->next;
    free(r);
}

void peer_deliver_reply(struct peer *p, const Islr__Envelope *m)
{
    struct pending **at = find_request(p, m->id), *r = *at;
    if (!r)
        return; // forgotten, given up, or the Ok of a Ping
    peer_reply_fn on_reply = r->on_reply;
    void *context = r->context;
    r->deadline = 0;
    if (envelope_is_last_reply(m)) {
        *at = r->next;
        free(r);
    }
    struct error why;
    if (m->body_case == ISLR__ENVELOPE__BODY_FAULT) {
        envelope_fault_error(m->fault, &why);
        on_reply(p, context, NULL, &why);
    } else {
        on_reply(p, context, m, NULL);
    }
}

void peer_expire_requests(struct peer *p)
{
    for (struct pending **at = &p->pending; *at && !p->closing;) {
        struct pending *r = *at;
        if (!peer_reached(p, r->deadline)) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        struct error why;
        error_set(&why, ERR_TIMEOUT, "no answer came in time");
        r->on_reply(p, r->context, NULL, &why);
        free(r);
        at = &p->pending; // the callback may have changed the list
    }
}

void peer_fail_requests(struct peer *p)
{
    struct error why = p->why;
    if (why.code == ERR_NONE)
        error_set(&why, ERR_UNREACHABLE, "the connection was closed");
    while (p->pending) {
        struct pending *r = p->pending;
        p->pending = r->next;
        r->on_reply(p, r->context, NULL, &why);
        free(r);
    }
}

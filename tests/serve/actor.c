// Connections that speak the protocol word by word: see rig.h.
#include "tests/serve/rig.h"

#include <stdio.h>

#include "core/base/memory.h"

static void put_in_inbox(struct ear *ear, Islr__Envelope *m)
{
    struct message **last = &ear->inbox;
    while (*last)
        last = &(*last)->next;
    *last = xcalloc(1, sizeof **last);
    (*last)->m = m;
    ear->come |= m->body_case == ear->awaited;
}

static void on_up(struct link *l, struct peer *p, const Islr__Welcome *welcome)
{
    struct actor *a = ((struct ear *)link_context(l))->actor;
    (void)p;
    if (!a)
        return;
    snprintf(a->role, sizeof a->role, "%s", welcome->role);
    a->up = 1;
}

static void on_message(struct link *l, Islr__Envelope *m)
{
    (void)m;
    put_in_inbox(link_context(l), peer_keep_message(link_peer(l)));
}

static void on_down(struct link *l, const struct error *why, int again_ms)
{
    struct actor *a = ((struct ear *)link_context(l))->actor;
    if (!a)
        return;
    a->why = *why;
    a->refused = again_ms < 0;
    a->up = 0;
}

static void free_ear(struct ear *ear)
{
    struct ear **at = &ear->rig->ears;
    while (*at != ear)
        at = &(*at)->next;
    *at = ear->next;
    while (ear->inbox) {
        struct message *next = ear->inbox->next;
        envelope_free(ear->inbox->m);
        free(ear->inbox);
        ear->inbox = next;
    }
    free(ear);
}

static void on_closed(struct link *l)
{
    struct ear *ear = link_context(l);
    if (ear->actor)
        ear->actor->closed = 1;
    free_ear(ear);
}

static void open_link(struct actor *a, struct rig *rig, const struct link_options *options)
{
    static const struct link_events events = {on_up, on_message, NULL, on_down, on_closed};
    memset(a, 0, sizeof *a);
    a->rig = rig;
    a->ear = xcalloc(1, sizeof *a->ear);
    *a->ear = (struct ear){.next = rig->ears, .rig = rig, .actor = a};
    rig->ears = a->ear;
    a->ear->link = a->link = link_open(&rig->loop, options, &events, a->ear);
}

void actor_open(struct actor *a, struct rig *rig, Islr__Hello__Role role)
{
    struct link_options options = {.role = role, .reconnect = 1};
    struct error e;
    char text[300];
    snprintf(text, sizeof text, "unix:%s/islr.sock", rig->directory);
    assert_int_equal(address_parse(text, &options.address, &e), 0);
    open_link(a, rig, &options);
    actor_wait_up(a);
}

void actor_dial(struct actor *a, struct rig *rig, Islr__Hello__Role role, const char *token)
{
    struct link_options options = {.address = rig->network, .role = role, .token = token, .reconnect = 1};
    open_link(a, rig, &options);
}

void actor_wait_refused(struct actor *a)
{
    rig_until(a->rig, &a->refused, "a refusal");
}

void actor_wait_up(struct actor *a)
{
    rig_until(a->rig, &a->up, "a connection");
}

void actor_close(struct actor *a)
{
    link_close(a->link);
    rig_until(a->rig, &a->closed, "a connection's end");
}

static Islr__Envelope *copy(const Islr__Envelope *m)
{
    size_t size = islr__envelope__get_packed_size(m);
    uint8_t *bytes = xmalloc(size + 1);
    islr__envelope__pack(m, bytes);
    Islr__Envelope *out = islr__envelope__unpack(NULL, size, bytes);
    free(bytes);
    return out;
}

struct peer *actor_peer(struct actor *a)
{
    struct peer *p = link_peer(a->link);
    if (!p)
        fail_msg("the connection is gone: %s", *a->why.text ? a->why.text : "it was never there");
    return p;
}

struct call {
    struct ear *ear;
    int done;
    Islr__Envelope *last;
    struct error why;
};

static void on_reply(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why)
{
    struct call *c = context;
    (void)p;
    if (!m)
        c->why = *why;
    else if (envelope_is_last_reply(m))
        c->last = copy(m);
    else
        put_in_inbox(c->ear, copy(m));
    c->done = !m || c->last;
    if (c->done && !c->ear->actor) { // whoever asked has failed meanwhile
        envelope_free(c->last);
        free(c);
    }
}

static struct call call(struct actor *a, Islr__Envelope *m)
{
    struct call *c = xcalloc(1, sizeof *c), result;
    struct error e;
    c->ear = a->ear;
    if (!peer_request(actor_peer(a), m, 0, on_reply, c, &e))
        fail_msg("%s", e.text);
    rig_until(a->rig, &c->done, envelope_name(m));
    result = *c;
    free(c);
    return result;
}

Islr__Envelope *actor_call(struct actor *a, Islr__Envelope *m, Islr__Envelope__BodyCase expect)
{
    struct call c = call(a, m);
    if (!c.last)
        fail_msg("%s: %s", envelope_name(m), c.why.text);
    assert_int_equal(c.last->body_case, expect);
    return c.last;
}

void actor_call_ok(struct actor *a, Islr__Envelope *m)
{
    envelope_free(actor_call(a, m, ISLR__ENVELOPE__BODY_OK));
}

const char *actor_call_fault(struct actor *a, Islr__Envelope *m, enum error_code code)
{
    static struct error why;
    struct call c = call(a, m);
    if (c.last)
        fail_msg("%s should have been refused", envelope_name(m));
    why = c.why;
    if (why.code != code)
        fail_msg("code %d instead of %d: %s", (int)why.code, (int)code, why.text);
    return why.text;
}

enum error_code actor_try(struct actor *a, Islr__Envelope *m, struct error *why)
{
    struct call c = call(a, m);
    *why = c.why;
    if (c.last)
        why->code = ERR_NONE;
    envelope_free(c.last);
    return why->code;
}

void actor_send(struct actor *a, Islr__Envelope *m)
{
    struct error e;
    if (peer_send(actor_peer(a), m, &e))
        fail_msg("%s", e.text);
}

// Everything to the inbox, a Fault as a Fault.
static void to_inbox(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why)
{
    struct ear *ear = context;
    (void)p;
    if (m) {
        put_in_inbox(ear, copy(m));
        return;
    }
    Islr__Fault fault = ISLR__FAULT__INIT;
    Islr__Envelope envelope = ENVELOPE(FAULT, fault, &fault);
    fault.has_code = 1;
    fault.code = why->code;
    fault.text = (char *)why->text;
    put_in_inbox(ear, copy(&envelope));
}

uint64_t actor_ask(struct actor *a, Islr__Envelope *m)
{
    struct error e;
    uint64_t id = peer_request(actor_peer(a), m, 0, to_inbox, a->ear, &e);
    if (!id)
        fail_msg("%s", e.text);
    return id;
}

int actor_has(struct actor *a, Islr__Envelope__BodyCase kind)
{
    for (struct message *i = a->ear->inbox; i; i = i->next)
        if (i->m->body_case == kind)
            return 1;
    return 0;
}

Islr__Envelope *actor_next(struct actor *a, Islr__Envelope__BodyCase kind)
{
    char what[60];
    snprintf(what, sizeof what, "a message of the kind %d", (int)kind);
    a->ear->awaited = kind;
    a->ear->come = actor_has(a, kind);
    if (!a->ear->come)
        rig_until(a->rig, &a->ear->come, what);
    for (struct message **at = &a->ear->inbox; *at; at = &(*at)->next) {
        if ((*at)->m->body_case != kind)
            continue;
        struct message *found = *at;
        Islr__Envelope *m = found->m;
        *at = found->next;
        free(found);
        return m;
    }
    return NULL;
}

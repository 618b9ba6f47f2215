// A run's checkpoints: see checkpoint_list.h.
#include "core/rpc/checkpoint_list.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/rpc/protocol.h"

struct gathering {
    struct caller *caller;
    Islr__Envelope *all; // the first message, with what the later ones brought
};

// The checkpoints of a later message go over to the first one. (Both are of malloc's memory: envelope.c.)
static void move(Islr__CheckpointList *to, Islr__CheckpointList *from)
{
    if (from->n_checkpoints) {
        to->checkpoints = xrealloc(to->checkpoints, to->n_checkpoints + from->n_checkpoints, sizeof *to->checkpoints);
        memcpy(to->checkpoints + to->n_checkpoints, from->checkpoints, from->n_checkpoints * sizeof *from->checkpoints);
    }
    to->n_checkpoints += from->n_checkpoints;
    from->n_checkpoints = 0;
}

static int take(void *context, const Islr__Envelope *m, struct error *e)
{
    struct gathering *g = context;
    if (m->body_case != ISLR__ENVELOPE__BODY_CHECKPOINT_LIST)
        return error_set(e, ERR_DAMAGED, "the server's answer (%s) is not a list of checkpoints", envelope_name(m));
    Islr__Envelope *piece = peer_keep_message(caller_peer(g->caller));
    if (!g->all) {
        g->all = piece;
        return 0;
    }
    move(g->all->checkpoint_list, piece->checkpoint_list);
    envelope_free(piece);
    return 0;
}

Islr__Envelope *checkpoint_list_ask(struct caller *c, uint64_t run, const Islr__ReadAs *as, struct error *e)
{
    struct gathering g = {c, NULL};
    Islr__ListCheckpoints list = ISLR__LIST_CHECKPOINTS__INIT;
    Islr__Envelope m = ENVELOPE(LIST_CHECKPOINTS, list_checkpoints, &list);
    list.has_run = 1;
    list.run = run;
    list.as = (Islr__ReadAs *)as;
    if (!rpc_stream(c, &m, RPC_CALL_MS, take, &g, e))
        return g.all;
    envelope_free(g.all);
    return NULL;
}

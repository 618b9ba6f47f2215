// Lists: see listing.h.
#include "client/listing.h"

#include <stdlib.h>

#include "client/server.h"
#include "core/rpc/protocol.h"

void listing_begin(struct listing *l, const char *name, const struct table_column *columns, size_t count)
{
    if (!l->json) {
        table_columns(&l->table, columns, count);
        return;
    }
    json_begin(&l->document, NULL, '{');
    json_begin(&l->document, name, '[');
}

static int take(void *context, const Islr__Envelope *m, struct error *e)
{
    struct listing *l = context;
    return l->add(l, m, e);
}

int listing_ask(struct listing *l, struct caller *c, Islr__Envelope *request, struct error *e)
{
    return rpc_stream(c, request, RPC_CALL_MS, take, l, e) < 0 ? -1 : 0;
}

static void print(struct listing *l)
{
    if (l->json)
        json_end(&l->document, ']');
    else
        table_print(&l->table, stdout);
    if (l->more)
        l->more(l);
    if (!l->json)
        return;
    json_end(&l->document, '}');
    json_print(&l->document, stdout);
}

void listing_end(struct listing *l, bool whole)
{
    if (whole)
        print(l);
    free(l->document.text.text);
    table_free(&l->table);
}

int listing_print(struct listing *l, struct caller *c, Islr__Envelope *request)
{
    struct error e = {ERR_NONE, ""};
    int code = listing_ask(l, c, request, &e) ? client_fail(&e) : 0;
    listing_end(l, !code);
    return code;
}

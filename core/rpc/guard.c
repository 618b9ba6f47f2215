// Who may connect from the network: see guard.h.
#include "core/rpc/guard.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/base/memory.h"
#include "core/rpc/protocol.h"

struct guarded {
    struct network network;
    unsigned strangers, blames;
    uint64_t blames_until; // 0: none
};

// More than there can be strangers, so that there is always an entry without one to give up.
enum { ENTRIES_MAX = 2 * RPC_STRANGERS_MAX };

struct network network_of(const struct sockaddr *a, char *text, size_t size)
{
    struct network n = {{0}};
    *text = 0;
    if (a->sa_family == AF_INET) {
        const struct in_addr *v4 = &((const struct sockaddr_in *)a)->sin_addr;
        n.bytes[10] = n.bytes[11] = 0xff; // as IPv6 writes it
        memcpy(n.bytes + 12, v4, 4);
        inet_ntop(AF_INET, v4, text, (socklen_t)size);
    } else if (a->sa_family == AF_INET6) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)a)->sin6_addr;
        memcpy(n.bytes, v6, IN6_IS_ADDR_V4MAPPED(v6) ? 16 : 8);
        inet_ntop(AF_INET6, v6, text, (socklen_t)size);
    }
    return n;
}

void guard_free(struct guard *g)
{
    free(g->entries);
    memset(g, 0, sizeof *g);
}

static struct guarded *find(struct guard *g, const struct network *n)
{
    for (size_t i = 0; i < g->count; i++)
        if (!memcmp(&g->entries[i].network, n, sizeof *n))
            return &g->entries[i];
    return NULL;
}

static void remove_entry(struct guard *g, struct guarded *x)
{
    *x = g->entries[--g->count];
}

static int is_idle(const struct guarded *x, uint64_t now_ms)
{
    return !x->strangers && now_ms >= x->blames_until;
}

// Room for one more: what is no longer of interest goes, or else the blame that ends first.
static void make_room(struct guard *g, uint64_t now_ms)
{
    struct guarded *first = NULL;
    for (size_t i = g->count; i-- > 0;) {
        struct guarded *x = &g->entries[i];
        if (is_idle(x, now_ms))
            remove_entry(g, x);
    }
    if (g->count < ENTRIES_MAX)
        return;
    for (size_t i = 0; i < g->count; i++)
        if (!g->entries[i].strangers && (!first || g->entries[i].blames_until < first->blames_until))
            first = &g->entries[i];
    if (first)
        remove_entry(g, first);
}

static struct guarded *find_or_add(struct guard *g, const struct network *n, uint64_t now_ms)
{
    struct guarded *x = find(g, n);
    if (x)
        return x;
    if (g->count == ENTRIES_MAX)
        make_room(g, now_ms);
    if (!g->entries)
        g->entries = xcalloc(ENTRIES_MAX, sizeof *g->entries);
    x = &g->entries[g->count++];
    *x = (struct guarded){.network = *n};
    return x;
}

int guard_admit(struct guard *g, const struct network *n, uint64_t now_ms)
{
    if (g->strangers >= RPC_STRANGERS_MAX)
        return 0;
    struct guarded *x = find_or_add(g, n, now_ms);
    if (now_ms >= x->blames_until)
        x->blames = 0;
    if (x->strangers >= RPC_STRANGERS_PER_NETWORK || x->blames >= RPC_BLAMES_MAX)
        return 0;
    x->strangers++;
    g->strangers++;
    return 1;
}

void guard_release(struct guard *g, const struct network *n)
{
    struct guarded *x = find(g, n);
    if (!x || !x->strangers)
        return;
    x->strangers--;
    g->strangers--;
}

void guard_blame(struct guard *g, const struct network *n, uint64_t now_ms)
{
    struct guarded *x = find_or_add(g, n, now_ms);
    if (now_ms >= x->blames_until) {
        x->blames = 0;
        x->blames_until = now_ms + RPC_BLAMES_MS;
    }
    x->blames++;
}

// Parts of the machine: see serve_part.h.
#include "daemon/serve_part.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

// ---- making them ----------------------------------------------------------------------------------------------------

static struct part *part_of(struct parts *parts, const struct scheduler_rank *rank)
{
    for (size_t i = parts->count; i-- > 0;) // ranks come world by world
        if (parts->items[i].world == rank->world && parts->items[i].device == rank->device)
            return &parts->items[i];
    parts->items = xrealloc(parts->items, parts->count + 1, sizeof *parts->items);
    struct part *p = &parts->items[parts->count++];
    *p = (struct part){.world = rank->world, .device = rank->device, .sure_ms = -1};
    return p;
}

static struct part_run *add_run(struct part *p)
{
    p->runs = xrealloc(p->runs, p->run_count + 1, sizeof *p->runs);
    struct part_run *run = &p->runs[p->run_count++];
    *run = (struct part_run){.left_ms = -1};
    return run;
}

static struct part_run *run_of(struct part *p, const struct scheduler_busy *busy)
{
    for (size_t i = 0; i < p->run_count; i++)
        if (p->runs[i].busy == busy)
            return &p->runs[i];
    struct part_run *run = add_run(p);
    run->busy = busy;
    run->left_ms = busy->left_ms;
    run->stopping = busy->stopping;
    return run;
}

struct parts parts_make(const struct scheduler_input *in)
{
    struct parts parts = {0};
    for (size_t i = 0; i < in->rank_count; i++)
        part_of(&parts, &in->ranks[i])->total++;
    for (size_t i = 0; i < parts.count; i++)
        parts.items[i].free = xmalloc(parts.items[i].total * sizeof(size_t));
    for (size_t i = 0; i < in->rank_count; i++) {
        struct part *p = part_of(&parts, &in->ranks[i]);
        if (in->ranks[i].run) {
            run_of(p, &in->busy[in->ranks[i].run - 1])->ranks++;
        } else {
            p->free[p->free_count++] = i;
            parts.free++;
        }
    }
    return parts;
}

void parts_free(struct parts *parts)
{
    for (size_t i = 0; i < parts->count; i++) {
        free(parts->items[i].free);
        free(parts->items[i].runs);
    }
    free(parts->items);
}

// ---- how many -------------------------------------------------------------------------------------------------------

static int number_suits(const struct scheduler_run *r, uint32_t n)
{
    if (r->ranks)
        return n == r->ranks;
    return n >= r->min_ranks && n >= 1 && (!r->max_ranks || n <= r->max_ranks) && (!r->groups || r->groups % n == 0);
}

uint32_t part_most_ranks(const struct scheduler_run *r, size_t available)
{
    if (r->last_ranks && r->last_ranks <= available && number_suits(r, r->last_ranks))
        return r->last_ranks;
    uint32_t n = (uint32_t)available;
    if (r->ranks)
        return r->ranks <= n ? r->ranks : 0;
    if (r->max_ranks && n > r->max_ranks)
        n = r->max_ranks;
    if (r->groups && n > r->groups)
        n = r->groups;
    while (n && !number_suits(r, n))
        n--;
    return n;
}

uint32_t part_least_ranks(const struct scheduler_run *r)
{
    if (r->ranks)
        return r->ranks;
    uint32_t n = r->min_ranks ? r->min_ranks : 1, last = r->groups ? r->groups : n;
    while (n <= last && !number_suits(r, n))
        n++;
    return n <= last ? n : 0;
}

int part_suits(const struct part *p, const struct scheduler_run *r)
{
    return r->device == SCHEDULER_ANY || r->device == p->device;
}

static int ends_in_time(const struct part *p, const struct scheduler_run *r)
{
    return p->sure_ms >= 0 && r->left_ms > 0 && r->left_ms <= p->sure_ms;
}

size_t part_open_ranks(const struct part *p, const struct scheduler_run *r)
{
    if (!p->holder || ends_in_time(p, r))
        return p->free_count;
    return p->spare < p->free_count ? p->spare : p->free_count;
}

// ---- which ones -----------------------------------------------------------------------------------------------------

struct host_count {
    uint32_t host;
    size_t free;
};

static size_t count_hosts(const struct scheduler_input *in, const struct part *p, struct host_count *hosts)
{
    size_t count = 0;
    for (size_t i = 0; i < p->free_count; i++) {
        uint32_t host = in->ranks[p->free[i]].host;
        size_t k = 0;
        while (k < count && hosts[k].host != host)
            k++;
        if (k == count)
            hosts[count++] = (struct host_count){host, 0};
        hosts[k].free++;
    }
    return count;
}

// The host to take the next `wanted` ranks from: the fullest that has them all, else the emptiest.
static struct host_count *best_host(struct host_count *hosts, size_t count, size_t wanted)
{
    struct host_count *best = NULL;
    for (size_t i = 0; i < count; i++) {
        struct host_count *h = &hosts[i];
        int fits = h->free >= wanted, best_fits = best && best->free >= wanted;
        if (h->free && (!best || (fits && !best_fits) || (fits && h->free < best->free) ||
                        (!fits && !best_fits && h->free > best->free)))
            best = h;
    }
    return best;
}

static void mark_taken(const struct scheduler_input *in, const struct part *p, size_t n, char *taken)
{
    struct host_count *hosts = xmalloc(p->free_count * sizeof *hosts);
    size_t host_count = count_hosts(in, p, hosts);
    for (size_t left = n; left;) {
        struct host_count *h = best_host(hosts, host_count, left);
        for (size_t i = 0; i < p->free_count && left && h->free; i++) {
            if (!taken[i] && in->ranks[p->free[i]].host == h->host) {
                taken[i] = 1;
                h->free--;
                left--;
            }
        }
        h->free = 0;
    }
    free(hosts);
}

void part_take(struct parts *parts, struct part *p, const struct scheduler_input *in, const struct scheduler_run *r,
               size_t n, size_t *out)
{
    char *taken = xcalloc(p->free_count, 1);
    size_t kept = 0, given = 0;
    mark_taken(in, p, n, taken);
    for (size_t i = 0; i < p->free_count; i++) {
        if (taken[i])
            out[given++] = p->free[i];
        else
            p->free[kept++] = p->free[i];
    }
    p->free_count = kept;
    parts->free -= n;
    if (p->holder && !ends_in_time(p, r))
        p->spare -= n;
    struct part_run *run = add_run(p);
    run->ranks = n;
    run->left_ms = r->left_ms > 0 ? r->left_ms : -1;
    free(taken);
}

size_t part_stopping_ranks(const struct part *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->run_count; i++)
        n += p->runs[i].stopping ? p->runs[i].ranks : 0;
    return n;
}

int part_is_room_coming(const struct part *p, const struct scheduler_run *r)
{
    size_t stopping = part_stopping_ranks(p);
    return stopping && p->free_count + stopping >= part_least_ranks(r);
}

// ---- holding --------------------------------------------------------------------------------------------------------

static int by_end(const void *a, const void *b)
{
    const struct part_run *x = a, *y = b;
    return x->left_ms < y->left_ms ? -1 : x->left_ms > y->left_ms;
}

// The runs whose end is known, earliest first; malloc'ed. One that stops is soon gone, but nobody knows when.
static struct part_run *known_ends(const struct part *p, size_t *count)
{
    struct part_run *ends = xmalloc((p->run_count ? p->run_count : 1) * sizeof *ends);
    *count = 0;
    for (size_t i = 0; i < p->run_count; i++)
        if (p->runs[i].left_ms >= 0 && !p->runs[i].stopping)
            ends[(*count)++] = p->runs[i];
    qsort(ends, *count, sizeof *ends, by_end);
    return ends;
}

// *spare: the ranks that are left over at that moment.
static int64_t find_sure_ms(const struct part *p, size_t needed, size_t *spare)
{
    size_t count, have = p->free_count;
    int64_t sure = -1;
    struct part_run *ends = known_ends(p, &count);
    for (size_t i = 0; i < count && (sure < 0 || ends[i].left_ms == sure); i++) {
        have += ends[i].ranks;
        if (have >= needed)
            sure = ends[i].left_ms; // those that end at the same moment still come
    }
    *spare = sure >= 0 ? have - needed : 0;
    free(ends);
    return sure;
}

int64_t part_sure_ms(const struct part *p, const struct scheduler_run *r)
{
    size_t spare;
    return find_sure_ms(p, part_least_ranks(r), &spare);
}

// The least that is left over whichever runs end first: over all sets of runs whose ends would let the holder start,
// the smallest surplus. A matter of which sums of ranks can come about.
static size_t least_surplus(const struct part *p, size_t needed)
{
    char *sums = xcalloc(p->total + 1, 1); // [ranks freed]: some set of runs frees so many
    size_t n = needed - p->free_count;
    sums[0] = 1;
    for (size_t i = 0; i < p->run_count; i++)
        for (size_t from = p->total; from-- > 0;)
            if (sums[from] && from + p->runs[i].ranks <= p->total)
                sums[from + p->runs[i].ranks] = 1;
    while (n <= p->total && !sums[n])
        n++;
    free(sums);
    return n <= p->total ? n + p->free_count - needed : 0;
}

void part_hold(struct part *p, const struct scheduler_run *r)
{
    size_t needed = part_least_ranks(r);
    p->spare = 0;
    p->holder = r;
    p->sure_ms = part_is_room_coming(p, r) ? -1 : find_sure_ms(p, needed, &p->spare); // it may start any moment
    if (p->sure_ms < 0 && needed > p->free_count)
        p->spare = least_surplus(p, needed);
}

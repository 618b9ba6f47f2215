// Which queued run gets which ranks: see serve_scheduler.h.
#include "daemon/serve_scheduler.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

// The ranks of one world with one kind of device: what a run can be given.
struct part {
    uint32_t world;
    enum scheduler_device device;
    size_t *free; // indices of free ranks, ascending
    size_t free_count, total;
    uint64_t held_by; // the run that waits for this part, 0: none
};

struct parts {
    struct part *items;
    size_t count;
};

static struct part *part_of(struct parts *parts, const struct scheduler_rank *rank, size_t rank_count)
{
    for (size_t i = 0; i < parts->count; i++)
        if (parts->items[i].world == rank->world && parts->items[i].device == rank->device)
            return &parts->items[i];
    parts->items = xrealloc(parts->items, parts->count + 1, sizeof *parts->items);
    struct part *p = &parts->items[parts->count++];
    *p = (struct part){.world = rank->world, .device = rank->device, .free = xmalloc(rank_count * sizeof *p->free)};
    return p;
}

static struct parts make_parts(const struct scheduler_input *in)
{
    struct parts parts = {0};
    for (size_t i = 0; i < in->rank_count; i++) {
        struct part *p = part_of(&parts, &in->ranks[i], in->rank_count);
        p->total++;
        if (in->ranks[i].free)
            p->free[p->free_count++] = i;
    }
    return parts;
}

static void free_parts(struct parts *parts)
{
    for (size_t i = 0; i < parts->count; i++)
        free(parts->items[i].free);
    free(parts->items);
}

// ---- how many -------------------------------------------------------------------------------------------------------

static int number_suits(const struct scheduler_run *r, uint32_t n)
{
    if (r->ranks)
        return n == r->ranks;
    return n >= r->min_ranks && n >= 1 && (!r->max_ranks || n <= r->max_ranks) && (!r->groups || r->groups % n == 0);
}

// The largest suitable number of at most `available` ranks, 0: none.
static uint32_t most_ranks(const struct scheduler_run *r, size_t available)
{
    if (r->last_ranks && r->last_ranks <= available && number_suits(r, r->last_ranks))
        return r->last_ranks;
    for (uint32_t n = (uint32_t)available; n > 0; n--)
        if (number_suits(r, n))
            return n;
    return 0;
}

static uint32_t least_ranks(const struct scheduler_run *r)
{
    if (r->ranks)
        return r->ranks;
    uint32_t n = r->min_ranks ? r->min_ranks : 1;
    while (r->groups && n < r->groups && r->groups % n)
        n++;
    return n;
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

// Moves n ranks out of the part's free ones into `out`, both ascending.
static void take_ranks(const struct scheduler_input *in, struct part *p, size_t n, size_t *out)
{
    struct host_count *hosts = xmalloc(p->free_count * sizeof *hosts);
    size_t host_count = count_hosts(in, p, hosts);
    char *taken = xcalloc(p->free_count, 1);
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
    size_t kept = 0, given = 0;
    for (size_t i = 0; i < p->free_count; i++) {
        if (taken[i])
            out[given++] = p->free[i];
        else
            p->free[kept++] = p->free[i];
    }
    p->free_count = kept;
    free(taken);
    free(hosts);
}

// ---- deciding -------------------------------------------------------------------------------------------------------

static int device_suits(const struct scheduler_run *r, const struct part *p)
{
    return r->device == SCHEDULER_ANY || r->device == p->device;
}

// The part where the run gets most, on GPUs if it may; the one with the least left over among equals.
static struct part *best_part(struct parts *parts, const struct scheduler_run *r, uint32_t *number)
{
    struct part *best = NULL;
    *number = 0;
    for (size_t i = 0; i < parts->count; i++) {
        struct part *p = &parts->items[i];
        uint32_t n = device_suits(r, p) && !p->held_by ? most_ranks(r, p->free_count) : 0;
        if (!n)
            continue;
        int better = !best;
        if (best && p->device != best->device)
            better = p->device == SCHEDULER_CUDA;
        else if (best)
            better = n > *number || (n == *number && p->free_count < best->free_count);
        if (better) {
            best = p;
            *number = n;
        }
    }
    return best;
}

// Says why a run waits, and holds the part where it is nearest to starting.
static void explain_and_hold(struct parts *parts, const struct scheduler_run *r, struct scheduler_answer *a)
{
    struct part *nearest = NULL;
    a->needs = least_ranks(r);
    for (size_t i = 0; i < parts->count; i++) {
        struct part *p = &parts->items[i];
        if (!device_suits(r, p))
            continue;
        if (p->total > a->possible)
            a->possible = (uint32_t)p->total;
        if (!p->held_by && p->free_count > a->free)
            a->free = (uint32_t)p->free_count;
        if (p->held_by && most_ranks(r, p->free_count))
            a->behind = p->held_by;
        if (!p->held_by && most_ranks(r, p->total) && (!nearest || p->free_count > nearest->free_count))
            nearest = p;
    }
    if (nearest)
        nearest->held_by = r->id;
}

static int by_turn(const void *a, const void *b)
{
    const struct scheduler_run *x = *(const struct scheduler_run *const *)a,
                               *y = *(const struct scheduler_run *const *)b;
    if (x->priority != y->priority)
        return x->priority > y->priority ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

struct scheduler_answer *scheduler_decide(const struct scheduler_input *in)
{
    struct scheduler_answer *answers = xcalloc(in->run_count ? in->run_count : 1, sizeof *answers);
    const struct scheduler_run **turn = xmalloc((in->run_count ? in->run_count : 1) * sizeof *turn);
    struct parts parts = make_parts(in);
    for (size_t i = 0; i < in->run_count; i++)
        turn[i] = &in->runs[i];
    qsort(turn, in->run_count, sizeof *turn, by_turn);
    for (size_t i = 0; i < in->run_count; i++) {
        const struct scheduler_run *r = turn[i];
        struct scheduler_answer *a = &answers[r - in->runs];
        uint32_t n;
        struct part *p = best_part(&parts, r, &n);
        if (!p) {
            explain_and_hold(&parts, r, a);
            continue;
        }
        a->count = n;
        a->ranks = xmalloc(n * sizeof *a->ranks);
        take_ranks(in, p, n, a->ranks);
    }
    free_parts(&parts);
    free(turn);
    return answers;
}

void scheduler_free(struct scheduler_answer *answers, size_t run_count)
{
    for (size_t i = 0; i < run_count; i++)
        free(answers[i].ranks);
    free(answers);
}

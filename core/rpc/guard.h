// Who may connect from the network: counts, by address, the connections that have not said who they are, and the wrong
// answers to that question. It knows a bounded number of addresses; the limits are in protocol.h.
#ifndef ISLR_RPC_GUARD_H
#define ISLR_RPC_GUARD_H

#include <stddef.h>
#include <stdint.h>

struct sockaddr;

// What counts as one address: an IPv4 address, or an IPv6 network of 64 bits, which is what one host is given.
struct network {
    uint8_t bytes[16];
};
// Zero for other families. `text` gets the whole address.
struct network network_of(const struct sockaddr *a, char *text, size_t size);

struct guarded;

// Zero-initialise; guard_free() at the end.
struct guard {
    struct guarded *entries;
    size_t count;
    unsigned strangers; // in all
};
void guard_free(struct guard *g);

// A connection: 1 where it may come in; it is then a stranger until guard_release(), once, says that it is known or
// gone. 0: not now.
int guard_admit(struct guard *g, const struct network *n, uint64_t now_ms);
void guard_release(struct guard *g, const struct network *n);
void guard_blame(struct guard *g, const struct network *n, uint64_t now_ms); // a wrong answer

#endif

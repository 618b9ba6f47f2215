// The limits of protocol.h for people: what is bounded, by how much, and why. `islrd doctor` prints them.
#ifndef ISLR_RPC_LIMIT_H
#define ISLR_RPC_LIMIT_H

#include <stdint.h>

struct rpc_limit {
    const char *what; // NULL ends the list
    uint64_t value;
    const char *unit; // "bytes", "ms" or "" for a number of things
    const char *why;
};

extern const struct rpc_limit rpc_limits[];

#endif

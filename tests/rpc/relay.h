// A line between a client and a server that does not leave bytes as they come: cut into pieces, changed, cut off.
#ifndef ISLR_TESTS_RPC_RELAY_H
#define ISLR_TESTS_RPC_RELAY_H

#include <uv.h>

#include "core/rpc/address.h"

struct relay {
    uv_loop_t *loop;
    size_t piece;           // bytes that go on at a time; 0: as they come
    uint64_t spoil;         // this byte (from 1) of what the server sends is changed; 0: none
    uint64_t passed;        // bytes from the server so far
    struct address address; // where it listens; the proof is that of the server behind it
    // private
    struct address server;
    uv_tcp_t listener, ends[2]; // ends: the client's, the server's
    uv_connect_t dialling;
    int connected, closing;
};

void relay_open(struct relay *r, uv_loop_t *loop, const struct address *server); // takes one connection
void relay_cut(struct relay *r);   // resets nothing, says no goodbye: both ends see the stream end
void relay_close(struct relay *r); // the loop must go on for that
#endif

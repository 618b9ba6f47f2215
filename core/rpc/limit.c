// The limits of protocol.h for people: see limit.h.
#include "core/rpc/limit.h"

#include "core/rpc/protocol.h"

const struct rpc_limit rpc_limits[] = {
    {"a message before Hello was accepted", RPC_FRAME_MAX_STRANGER, "bytes", "a stranger's memory with us"},
    {"a message", RPC_FRAME_MAX, "bytes", "lists and files come in several"},
    {"a message unpacked", (uint64_t)RPC_UNPACK_FACTOR *RPC_FRAME_MAX, "bytes",
     "many small fields take more than they say"},
    {"a piece of a file", RPC_CHUNK_MAX, "bytes", "several are under way at a time"},
    {"a line of a log", RPC_LINE_MAX, "bytes", "longer ones are cut by the worker"},
    {"what waits for a reader that is slow", RPC_QUEUE_HIGH, "bytes", "it is then not read from, nor pushed to"},
    {"what waits for a reader that does not read", RPC_QUEUE_MAX, "bytes", "then it is hung up on"},
    {"requests of one connection under way", RPC_UNDER_WAY_MAX, "", "it is then not read from; nobody waits behind it"},
    {"their messages unpacked", RPC_KEPT_MAX, "bytes", "it is then not read from"},
    {"runs that one connection follows", RPC_FOLLOWS_MAX, "", "more are refused"},
    {"requests of one that wait for runs to end", RPC_WAITS_MAX, "", "more are refused"},
    {"connections of one listener", RPC_CONNECTIONS_MAX, "",
     "descriptors; each takes a few KiB. Fewer where the server may not have so many files open"},
    {"connections from the network without a name", RPC_STRANGERS_MAX, "", "they leave room for those that have one"},
    {"those of one address", RPC_STRANGERS_PER_NETWORK, "", "as many ranks of a host may arrive at once"},
    {"wrong tokens of one address", RPC_BLAMES_MAX, "", "then it is not let in"},
    {"for how long", RPC_BLAMES_MS, "ms", "from the first of them"},
    {"a handshake, TLS and Hello", RPC_HANDSHAKE_MS, "ms", "half-open connections"},
    {"from a message's first byte to its last", RPC_PARTIAL_MS, "ms", "who trickles holds a buffer"},
    {"a reader that takes nothing", RPC_STALL_MS, "ms", "its queue is of no use to anybody"},
    {"silence", RPC_IDLE_MS, "ms", "a worker's lease; clients say something every RPC_PING_MS"},
    {0},
};

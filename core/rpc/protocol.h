// The wire's version, limits and times, all in one place. Both ends are built from this file; a limit that a user may
// want to see is shown by `islrd doctor` from here.
#ifndef ISLR_RPC_PROTOCOL_H
#define ISLR_RPC_PROTOCOL_H

// Both ends must say the same number in Hello and Welcome; additions that an older peer may ignore do not change it.
#define RPC_PROTOCOL 2

// Frames: u32 big-endian length, then that many bytes of one Envelope. A longer frame ends the connection before
// anything is allocated for it.
#define RPC_FRAME_MAX_STRANGER (64u << 10) // until the peer has been recognised
#define RPC_FRAME_MAX          (1u << 20)
#define RPC_UNPACK_FACTOR      16           // an unpacked message may take this many times its frame's limit in memory
#define RPC_CHUNK_MAX          (256u << 10) // data bytes of one Chunk or Put

// What a worker puts into one record at most, and what a server takes.
#define RPC_LINE_MAX (60u << 10) // bytes of a log line
#define RPC_NAME_MAX 120         // bytes of a metric's name

// Write queue of one connection. Above HIGH a connection is "full": pushes wait for on_drained (below LOW), and a
// server's connection is not read from until then; a send that would go over MAX drops the connection.
#define RPC_QUEUE_HIGH (1u << 20)
#define RPC_QUEUE_LOW  (256u << 10)
#define RPC_QUEUE_MAX  (8u << 20)

// Of one connection's requests. From UNDER_WAY or KEPT on it is not read from until some are answered; follows and
// waits, which may stand for long, are not counted there and refused beyond their own limits.
#define RPC_UNDER_WAY_MAX 32
#define RPC_KEPT_MAX      (8u << 20) // bytes of their messages, unpacked
#define RPC_FOLLOWS_MAX   256
#define RPC_WAITS_MAX     256

#define RPC_CONNECTIONS_MAX 4096 // of one listener; further ones are closed at once
#define RPC_BACKLOG         512

// Over the network, of those that have not said who they are yet.
#define RPC_STRANGERS_MAX         1024  // in all: they leave room for those that are known
#define RPC_STRANGERS_PER_NETWORK 256   // of one address (IPv6: /64): as many ranks of one host may arrive at once
#define RPC_BLAMES_MAX            10    // wrong tokens of one address ..
#define RPC_BLAMES_MS             60000 // .. within this time; then it is not let in until the time is over

#define RPC_HANDSHAKE_MS 10000  // from the connection to Hello and Welcome
#define RPC_PARTIAL_MS   30000  // from a frame's first byte to its last
#define RPC_STALL_MS     60000  // a write queue that does not move
#define RPC_PING_MS      10000  // a dialled connection that is otherwise quiet says so this often
#define RPC_IDLE_MS      30000  // without a byte for so long the other end is taken for dead (a worker's lease)
#define RPC_CALL_MS      30000  // a request's answer
#define RPC_WATCH_MS     30000  // a Watch's answer where nothing has changed
#define RPC_DURABLE_MS   600000 // the answer of one that waits for a disk: large files are synced

// Reconnecting: first wait, doubled up to the last, each with a random quarter more or less.
#define RPC_BACKOFF_FIRST_MS 50
#define RPC_BACKOFF_LAST_MS  2000

#endif

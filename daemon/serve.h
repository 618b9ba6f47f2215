// The control server inside a process: what `islrd serve` and `islrd up` start and stop.
#ifndef ISLR_DAEMON_SERVE_H
#define ISLR_DAEMON_SERVE_H

#include <stdint.h>
#include <uv.h>

#include "core/base/error.h"
#include "core/base/log.h"

struct server;

#define SETTLE_SECONDS 600.0

struct server_options {
    const char *directory; // NULL: address_default_directory()
    const char *socket;    // NULL: address_default_socket() of the directory
    const char *group;     // who, besides its user, may open the socket; NULL: nobody
    const char *listen;    // HOST:PORT, with TLS; NULL: not on the network
    const char *tls_file;  // key and certificate; NULL: DIRECTORY/tls.pem, made if it is missing
    const struct log *log; // may be NULL
    uint32_t lease_ms;     // without contact for so long a rank is taken for dead; 0: RPC_IDLE_MS
    uint32_t hang_ms;      // getting nowhere for so long a rank is taken for stuck; 0: never
    uint32_t settle_ms;    // a run is not preempted so soon after its start; 0: SETTLE_SECONDS
};

// The options of a server in seconds, for islrd serve and up.
#define OPTION_LEASE(variable)                                                                                         \
    {                                                                                                                  \
        0, "lease-seconds", "S", "a rank that is not heard of for so long is gone, and its run given to others",       \
            OPTION_FLOAT, variable, 1, 86400                                                                           \
    }

#define OPTION_SETTLE(variable)                                                                                        \
    {                                                                                                                  \
        0, "preempt-after-seconds", "S", "a run is left alone for so long after its start, whatever comes",            \
            OPTION_FLOAT, variable, 0.001, 1e6                                                                         \
    }

// The rows of a command line that fill these in.
// clang-format off
#define SERVER_OPTION_ROWS(o)                                                                                          \
    {0, "dir", "DIR", "where everything is kept", OPTION_STRING, &(o)->directory, .path = true,                                        \
     .default_shown = "/var/lib/islr for root, else ~/.local/state/islr"},                                             \
    {0, "socket", "PATH", "the unix socket to listen on", OPTION_STRING, &(o)->socket, .path = true,                   \
     .default_shown = "DIR/islr.sock"},                                                                                \
    {0, "group", "NAME", "this group's users may open the socket too, as submitters", OPTION_STRING, &(o)->group,      \
     .default_shown = "the server's own user and root alone"},                                                         \
    {0, "listen", "HOST:PORT", "listen on the network too, with TLS 1.3; users need tokens", OPTION_STRING,            \
     &(o)->listen, .default_shown = "not on the network"},                                                             \
    {0, "tls", "FILE", "key and certificate in PEM form, read again at SIGHUP", OPTION_STRING, &(o)->tls_file,         \
     .path = true,                                                                                                     \
     .default_shown = "DIR/tls.pem, made if it is missing"}
// clang-format on

// Signals, limits and permissions of a process that is to be a server; before any thread.
void server_prepare_process(void);

// Opens the state, finds out what was going on, listens. NULL: another server has the directory, it cannot be written,
// the socket cannot be made, ... .
struct server *server_open(uv_loop_t *loop, const struct server_options *options, struct error *e);

const char *server_directory(const struct server *s);
const char *server_socket(const struct server *s);
const char *server_network_address(const struct server *s); // "tls:HOST:PORT" with the real port; NULL: none

// Reads the key and the certificate again, for connections from now on; what cannot be used is logged, and the old one
// stays.
void server_reload(struct server *s);

// Before stopping together with the workers: nothing new is started, and what is under way is asked to save and give
// its ranks back. on_quiet is called from the loop when no run is under way any more (at once if none is).
void server_quiesce(struct server *s, void (*on_quiet)(void *context), void *context);

// Stops: no new connections, answers what is under way, hangs up, commits, closes. Workers train on and look for the
// server again. on_stopped is called from the loop, after which nothing of the server is left on it. Called once more
// it waits for nobody who does not read: what is queued for connections is lost.
void server_stop(struct server *s, void (*on_stopped)(void *context), void *context);

#endif

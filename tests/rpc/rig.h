// A server's end for the tests of connections: a listener in a directory of its own whose behaviour a test scripts.
#ifndef ISLR_TESTS_RPC_RIG_H
#define ISLR_TESTS_RPC_RIG_H

#include <uv.h>

#include "core/rpc/link.h"
#include "core/rpc/listen.h"
#include "core/rpc/tls.h"

struct rig {
    uv_loop_t loop;
    char directory[64], path[80];
    struct address address;  // what clients use
    struct tls_context *tls; // NULL: on a unix socket
    struct listener *listener;
    struct peer *server; // the newest connection, NULL when it is gone
    int opened, ended;   // connections so far
    int greeted;         // Hellos so far
    struct error ended_why;
    // The test's: what is done with a message other than Hello, which is welcomed unless on_hello is set.
    void (*on_message)(struct rig *r, struct peer *p, Islr__Envelope *m);
    void (*on_hello)(struct rig *r, struct peer *p, Islr__Envelope *m);
    void (*on_drained)(struct rig *r, struct peer *p);
    void (*on_closed)(struct rig *r, struct peer *p);
    void *context;
};

void rig_open(struct rig *r);     // makes the loop and the directory; listens
void rig_open_tls(struct rig *r); // on the network; the address has the certificate's fingerprint
void rig_listen(struct rig *r);
void rig_unlisten(struct rig *r); // also hangs up
void rig_close(struct rig *r);    // everything must be closed but what the rig made
void rig_welcome(struct peer *p, uint64_t id);

// Runs the loop until *flag is true; fails the test after forty seconds.
void rig_run_until(struct rig *r, const int *flag);
void rig_run_for(struct rig *r, unsigned ms);

int rig_connect_raw(const struct rig *r); // a blocking socket that speaks nothing yet, not even TLS

#endif

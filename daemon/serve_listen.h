// Where the server is to be reached. Nothing but the unix socket is listened on unless it is asked for.
#ifndef ISLR_DAEMON_SERVE_LISTEN_H
#define ISLR_DAEMON_SERVE_LISTEN_H

#include "core/base/error.h"

struct server;
struct server_options;

int listeners_open(struct server *s, const struct server_options *o, struct error *e);
void listeners_close(struct server *s); // also of those that were not opened

#endif

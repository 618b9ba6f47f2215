// Where a server is: "unix:PATH" (a bare absolute path too) or "tls:HOST:PORT".
#ifndef ISLR_RPC_ADDRESS_H
#define ISLR_RPC_ADDRESS_H

#include "core/base/error.h"

enum address_kind { ADDRESS_UNIX, ADDRESS_TLS };

struct address {
    enum address_kind kind;
    char path[108];           // unix: at most what a sockaddr_un holds on this system
    char host[256], port[16]; // tls; an IPv6 address in [brackets] comes without them
};

int address_parse(const char *text, struct address *out, struct error *e);
#define ADDRESS_TEXT 300
void address_format(const struct address *a, char text[ADDRESS_TEXT]);

// The state directory of a server run by this user when --dir does not say otherwise, malloc'ed: /var/lib/islr for
// root, else $XDG_STATE_HOME/islr, else ~/.local/state/islr.
char *address_default_directory(void);

// The socket of a server whose state directory is `directory` (NULL: the default one), malloc'ed: DIRECTORY/islr.sock.
// islrd serve listens there.
char *address_default_socket(const char *directory);

// Where a client looks for a local server that was not named, malloc'ed: this user's default socket, or the system's
// server's (root's default) if only that one exists.
char *address_find_socket(void);

#endif

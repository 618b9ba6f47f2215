// Which server a command talks to, and as whom.
#ifndef ISLR_CLIENT_SERVER_H
#define ISLR_CLIENT_SERVER_H

#include "core/base/options.h"
#include "core/rpc/call.h"

struct server {
    struct address address;
    char *token; // NULL: none
};

// Rows for the option tables of the commands.
#define OPTION_SERVER(variable)                                                                                        \
    {                                                                                                                  \
        0, "server", "ADDRESS", "unix:PATH or tls:HOST:PORT", OPTION_STRING, variable,                                 \
            .path = true, .default_shown = "$ISLR_SERVER, ~/.config/islr/client.yaml or the local server"              \
    }
#define OPTION_JSON(variable, document)                                                                                \
    {                                                                                                                  \
        0, "json", NULL, document, OPTION_FLAG, variable                                                               \
    }

// The server named by `given` (--server), else $ISLR_SERVER, else `server:` in client.yaml, else a local one's socket.
// The token: $ISLR_TOKEN, else `token:` in client.yaml if that is the file's server; likewise its certificate's proof,
// which $ISLR_FINGERPRINT or $ISLR_CA give otherwise.
int server_find(const char *given, struct server *s, struct error *e);
void server_free(struct server *s);

// server_find() and caller_open(); NULL with the error already printed, its code in *code.
struct caller *server_connect(const char *given, int *code);

// Prints "islrctl: <text>" to stderr and returns the exit code.
int client_fail(const struct error *e);

#endif

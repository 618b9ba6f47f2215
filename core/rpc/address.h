// Where a server is: "unix:PATH" (a bare absolute path too) or "tls:HOST:PORT"; and what one behind TLS must show.
#ifndef ISLR_RPC_ADDRESS_H
#define ISLR_RPC_ADDRESS_H

#include "core/base/error.h"
#include "core/base/hash.h"

enum address_kind { ADDRESS_UNIX, ADDRESS_TLS };

struct address {
    enum address_kind kind;
    char path[108];           // unix: at most what a sockaddr_un holds on this system
    char host[256], port[16]; // tls; an IPv6 address in [brackets] comes without them
    // tls: how the server proves that it is the one that is meant. With neither it is not spoken to.
    int pinned;              // its certificate has this SHA-256 (of the DER form), and no other
    struct hash fingerprint; // ..
    char ca_file[512];       // or it is valid for the host by one of these; "": none
};

int address_parse(const char *text, struct address *out, struct error *e);
#define ADDRESS_TEXT 300
void address_format(const struct address *a, char text[ADDRESS_TEXT]);
// HOST:PORT without "tls:" before it, for listening: port 0 (any that is free) is allowed.
int address_parse_listen(const char *text, struct address *out, struct error *e);

// Takes over what a user has given as proof (NULL and "": nothing), or else $ISLR_FINGERPRINT or $ISLR_CA. At most one.
int address_trust(struct address *a, const char *fingerprint, const char *ca_file, struct error *e);

// "SHA256:" and 64 hexadecimal digits; parsed also without the prefix and with the colons that `openssl x509
// -fingerprint` writes.
#define FINGERPRINT_TEXT 72
void fingerprint_format(const struct hash *fingerprint, char text[FINGERPRINT_TEXT]);
int fingerprint_parse(const char *text, struct hash *out, struct error *e);

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

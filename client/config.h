// client.yaml: the server that this user has logged in to. In $XDG_CONFIG_HOME/islr or ~/.config/islr; 0600.
#ifndef ISLR_CLIENT_CONFIG_H
#define ISLR_CLIENT_CONFIG_H

#include "core/base/error.h"

// Each NULL where it is not set. Token and proof are for this server and no other.
struct config {
    char *server, *token, *fingerprint, *ca;
};

int config_read(struct config *c, struct error *e); // a missing file is fine
int config_write(const struct config *c, struct error *e);
void config_free(struct config *c);
char *config_path(void); // malloc'ed; NULL: this user has no home

#endif

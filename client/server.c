// Which server a command talks to: see server.h.
#include "client/server.h"

#include <stdlib.h>
#include <string.h>

#include "client/config.h"
#include "client/text.h"
#include "core/base/memory.h"

// What is known of a server from the login applies to that one alone.
static int is_same(const struct address *a, const char *text)
{
    struct address b;
    char one[ADDRESS_TEXT], other[ADDRESS_TEXT];
    if (!text || address_parse(text, &b, NULL))
        return 0;
    address_format(a, one);
    address_format(&b, other);
    return !strcmp(one, other);
}

static int fill(const char *address, struct config *c, struct server *s, struct error *e)
{
    const char *secret = getenv("ISLR_TOKEN");
    if (address_parse(address, &s->address, e))
        return -1;
    int known = is_same(&s->address, c->server);
    if (address_trust(&s->address, known ? c->fingerprint : NULL, known ? c->ca : NULL, e))
        return -1;
    if (secret && *secret) {
        s->token = xstrdup(secret);
    } else if (known) {
        s->token = c->token;
        c->token = NULL;
    }
    return 0;
}

int server_find(const char *given, struct server *s, struct error *e)
{
    struct config c;
    const char *variable = getenv("ISLR_SERVER");
    memset(s, 0, sizeof *s);
    if (config_read(&c, e))
        return -1;
    char *socket = address_find_socket();
    int rc = fill(given ? given : variable && *variable ? variable : c.server ? c.server : socket, &c, s, e);
    free(socket);
    config_free(&c);
    return rc;
}

void server_free(struct server *s)
{
    free(s->token);
    memset(s, 0, sizeof *s);
}

int client_fail(const struct error *e)
{
    text_say("islrctl: %s%s", e->text,
             e->code == ERR_UNREACHABLE ? " (`islrd up` starts one on this machine, --server names another)" : "");
    return e->code == ERR_NONE ? ERR_FAILED : (int)e->code;
}

struct caller *server_connect(const char *given, int *code)
{
    struct server s;
    struct error e = {ERR_NONE, ""};
    if (server_find(given, &s, &e)) {
        *code = client_fail(&e);
        return NULL;
    }
    struct caller *c = caller_open(&s.address, s.token, &e);
    if (!c)
        *code = client_fail(&e);
    server_free(&s);
    return c;
}

// Which server a command talks to: see server.h.
#include "client/server.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/spec/tree.h"

enum { CONFIG_MAX = 64 << 10 };

static char *config_path(void)
{
    const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (base && *base == '/')
        return file_join(base, "islr/client.yaml");
    return home && *home ? file_join(home, ".config/islr/client.yaml") : NULL;
}

static int take_entry(const struct node *n, const char *path, char **address, char **token, struct error *e)
{
    char **target = !strcmp(n->key, "server") ? address : !strcmp(n->key, "token") ? token : NULL;
    if (!target)
        return error_set(e, ERR_INVALID, "%s:%d: there is no setting '%s'; allowed: server, token", path, n->key_line,
                         n->key);
    if (n->kind != NODE_SCALAR || !*n->text)
        return error_set(e, ERR_INVALID, "%s:%d: %s must be a text", path, n->line, n->key);
    free(*target);
    *target = xstrdup(n->text);
    return 0;
}

// A missing file is fine.
static int read_config(char **address, char **token, struct error *e)
{
    char *path = config_path(), *text = NULL;
    struct faults faults = {0};
    struct node *root = NULL;
    size_t size;
    int rc = 0;
    if (!path || file_read(path, CONFIG_MAX, &text, &size, e)) {
        rc = !path || e->code == ERR_NOT_FOUND ? 0 : -1;
        goto out;
    }
    root = tree_parse(path, text, size, false, &faults);
    if (!root)
        rc = faults_to_error(&faults, e);
    else if (root->kind != NODE_MAP && root->kind != NODE_NULL)
        rc = error_set(e, ERR_INVALID, "%s: expected are the settings server and token", path);
    for (size_t i = 0; root && !rc && i < root->count; i++)
        rc = take_entry(&root->children[i], path, address, token, e);
out:
    tree_free(root);
    faults_free(&faults);
    free(text);
    free(path);
    return rc;
}

int server_find(const char *given, struct server *s, struct error *e)
{
    char *address = NULL, *token = NULL;
    const char *variable = getenv("ISLR_SERVER"), *secret = getenv("ISLR_TOKEN");
    memset(s, 0, sizeof *s);
    if (read_config(&address, &token, e))
        goto failed;
    if (given || (variable && *variable)) {
        free(address);
        address = xstrdup(given ? given : variable);
    }
    if (!address)
        address = address_find_socket();
    if (secret && *secret) {
        free(token);
        token = xstrdup(secret);
    }
    if (address_parse(address, &s->address, e))
        goto failed;
    free(address);
    s->token = token;
    return 0;
failed:
    free(address);
    free(token);
    return -1;
}

void server_free(struct server *s)
{
    free(s->token);
    memset(s, 0, sizeof *s);
}

int client_fail(const struct error *e)
{
    fprintf(stderr, "islrctl: %s%s\n", e->text,
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

// client.yaml: see config.h.
#include "client/config.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/rpc/token.h"
#include "core/spec/emit.h"
#include "core/spec/tree.h"

enum { CONFIG_MAX = 64 << 10 };

char *config_path(void)
{
    const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (base && *base == '/')
        return file_join(base, "islr/client.yaml");
    return home && *home ? file_join(home, ".config/islr/client.yaml") : NULL;
}

void config_free(struct config *c)
{
    free(c->server);
    free(c->token);
    free(c->fingerprint);
    free(c->ca);
    memset(c, 0, sizeof *c);
}

static char **find_setting(struct config *c, const char *name)
{
    return !strcmp(name, "server")        ? &c->server
           : !strcmp(name, "token")       ? &c->token
           : !strcmp(name, "fingerprint") ? &c->fingerprint
           : !strcmp(name, "ca")          ? &c->ca
                                          : NULL;
}

static int take_entry(const struct node *n, const char *path, struct config *c, struct error *e)
{
    char **target = find_setting(c, n->key);
    if (!target)
        return error_set(e, ERR_INVALID, "%s:%d: there is no setting '%s'; allowed: server, token, fingerprint, ca",
                         path, n->key_line, n->key);
    if (n->kind != NODE_SCALAR || !*n->text)
        return error_set(e, ERR_INVALID, "%s:%d: %s must be a text", path, n->line, n->key);
    free(*target);
    *target = xstrdup(n->text);
    return 0;
}

static int parse(const char *path, const char *text, size_t size, struct config *c, struct error *e)
{
    struct faults faults = {0};
    struct node *root = tree_parse(path, text, size, false, &faults);
    int rc = 0;
    if (!root)
        rc = faults_to_error(&faults, e);
    else if (root->kind != NODE_MAP && root->kind != NODE_NULL)
        rc = error_set(e, ERR_INVALID, "%s: expected are the settings server, token, fingerprint, ca", path);
    for (size_t i = 0; root && !rc && i < root->count; i++)
        rc = take_entry(&root->children[i], path, c, e);
    if (!rc && !c->server && (c->token || c->fingerprint || c->ca))
        rc = error_set(e, ERR_INVALID, "%s: the settings are for no server: `server` is missing", path);
    if (!rc && c->token)
        rc = token_check_mode(path, e);
    tree_free(root);
    faults_free(&faults);
    return rc;
}

int config_read(struct config *c, struct error *e)
{
    char *path = config_path(), *text = NULL;
    size_t size;
    int rc = 0;
    memset(c, 0, sizeof *c);
    if (path && file_read(path, CONFIG_MAX, &text, &size, e))
        rc = e->code == ERR_NOT_FOUND ? 0 : -1;
    else if (path)
        rc = parse(path, text, size, c, e);
    if (rc)
        config_free(c);
    free(text);
    free(path);
    return rc;
}

static void add_line(struct strbuf *b, const char *name, const char *value)
{
    if (!value)
        return;
    strbuf_printf(b, "%s: ", name);
    emit_string(b, value);
    strbuf_printf(b, "\n");
}

int config_write(const struct config *c, struct error *e)
{
    char *path = config_path();
    struct strbuf b = {0};
    if (!path)
        return error_set(e, ERR_FAILED, "there is no $HOME to keep the login in");
    add_line(&b, "server", c->server);
    add_line(&b, "fingerprint", c->fingerprint);
    add_line(&b, "ca", c->ca);
    add_line(&b, "token", c->token);
    char *slash = strrchr(path, '/');
    *slash = 0;
    int rc = file_make_dirs(path, e);
    *slash = '/';
    rc = rc || file_write_secret(path, b.text, b.length, e) ? -1 : 0;
    free(b.text);
    free(path);
    return rc;
}

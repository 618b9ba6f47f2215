// Where the server is to be reached: its unix socket, and the network where that was asked for. See serve_listen.h.
#include "daemon/serve_listen.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/rpc/protocol.h"
#include "core/rpc/tls.h"
#include "daemon/serve_server.h"

enum {
    FILES_RESERVE = 64, // descriptors for the database, its readers and artifacts
    FILES_SHARE = 4     // .. or, where there are very few, a part of them
};

// Connections may not take the descriptors that dealing with them needs.
static void count_files(struct server *s, const struct server_options *o)
{
    struct rlimit files;
    unsigned most = o->listen ? 2 * RPC_CONNECTIONS_MAX : RPC_CONNECTIONS_MAX;
    s->sessions.most = most;
    if (getrlimit(RLIMIT_NOFILE, &files) || files.rlim_cur >= most + FILES_RESERVE)
        return;
    unsigned limit = (unsigned)files.rlim_cur;
    s->sessions.most = limit > 2 * FILES_RESERVE ? limit - FILES_RESERVE : limit / FILES_SHARE;
    log_warn(s->log, "at most %u connections at a time, not %u: this process may have %u files open (ulimit -n)",
             s->sessions.most, most, limit);
}

static void on_peer(struct listener *l, struct peer *p)
{
    struct server *s = listener_context(l);
    if (s->sessions.connected < s->sessions.most)
        session_open(s, p);
    else
        peer_close(p, NULL);
}

// ---- the unix socket ------------------------------------------------------------------------------------------------

static int find_group(const char *name, gid_t *out, struct error *e)
{
    char *end;
    const struct group *g = getgrnam(name); // at the start, where blocking is fine
    if (g) {
        *out = g->gr_gid;
        return 0;
    }
    unsigned long number = strtoul(name, &end, 10);
    if (!isdigit((unsigned char)*name) || *end || number >= (gid_t)-1)
        return error_set(e, ERR_INVALID, "there is no group '%s'", name);
    *out = (gid_t)number;
    return 0;
}

static char *parent_of(const char *path) // of an absolute path
{
    const char *slash = strrchr(path, '/');
    return xprintf("%.*s", slash == path ? 1 : (int)(slash - path), path);
}

// A socket in the server's own directory is reached only by those who may pass through that.
static int open_way(const struct server *s, const char *parent, gid_t group, struct error *e)
{
    struct stat own, way;
    if (group == LISTENER_NO_GROUP || stat(s->directory, &own) || stat(parent, &way) || own.st_dev != way.st_dev ||
        own.st_ino != way.st_ino)
        return 0;
    if (chown(parent, (uid_t)-1, group) || chmod(parent, (way.st_mode & 0700) | S_IXGRP))
        return error_set_errno(e, ERR_FAILED, "cannot let the group pass through %s", parent);
    return 0;
}

static int open_socket(struct server *s, const struct server_options *o, struct error *e)
{
    gid_t group = LISTENER_NO_GROUP;
    if (o->group && find_group(o->group, &group, e))
        return -1;
    char *parent = parent_of(s->socket);
    int rc = file_make_dirs(parent, e) || open_way(s, parent, group, e) ? -1 : 0;
    free(parent);
    if (rc)
        return -1;
    s->listener = listener_open_unix(s->loop, s->socket, o->group ? 0660 : 0600, group, on_peer, s, e);
    return s->listener ? 0 : -1;
}

// ---- the network ----------------------------------------------------------------------------------------------------

static int open_network(struct server *s, const struct server_options *o, struct error *e)
{
    struct address a;
    char fingerprint[FINGERPRINT_TEXT];
    if (address_parse_listen(o->listen, &a, e))
        return error_prefix(e, "--listen");
    s->tls_file = o->tls_file ? xstrdup(o->tls_file) : file_join(s->directory, "tls.pem");
    if (!o->tls_file && !file_exists(s->tls_file)) {
        if (tls_make_identity(s->tls_file, e))
            return -1;
        log_info(s->log, "made a key and a certificate: %s", s->tls_file);
    }
    struct tls_context *tls = tls_context_server(s->tls_file, e);
    if (!tls)
        return -1;
    s->network = listener_open_tls(s->loop, &a, tls, on_peer, s, e);
    fingerprint_format(tls_context_fingerprint(tls), fingerprint);
    tls_context_free(tls);
    if (!s->network)
        return -1;
    log_info(s->log, "also listens on %s; its certificate is %s", listener_address(s->network), fingerprint);
    return 0;
}

void server_reload(struct server *s)
{
    struct error e;
    char fingerprint[FINGERPRINT_TEXT];
    if (!s->network || s->stopping)
        return;
    struct tls_context *tls = tls_context_server(s->tls_file, &e);
    if (!tls) {
        log_error(s->log, "the certificate stays as it was: %s", e.text);
        return;
    }
    fingerprint_format(tls_context_fingerprint(tls), fingerprint);
    listener_set_tls(s->network, tls);
    tls_context_free(tls);
    log_info(s->log, "read %s again: the certificate is %s", s->tls_file, fingerprint);
}

const char *server_network_address(const struct server *s)
{
    return s->network ? listener_address(s->network) : NULL;
}

int listeners_open(struct server *s, const struct server_options *o, struct error *e)
{
    count_files(s, o);
    return open_socket(s, o, e) || (o->listen && open_network(s, o, e)) ? -1 : 0;
}

void listeners_close(struct server *s)
{
    listener_close(s->listener);
    listener_close(s->network);
    s->listener = s->network = NULL;
}

// A server's end: see listen.h.
#include "core/rpc/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/rpc/protocol.h"
#include "core/rpc/transport.h"

struct known_user {
    uid_t uid;
    char name[64];
};

struct listener {
    uv_loop_t *loop;
    uv_pipe_t pipe;
    listener_peer_fn on_peer;
    void *context;
    char *path;
    dev_t device; // of the socket's file as it was made
    ino_t inode;
    struct known_user *users; // names looked up so far: a directory service may be slow
    size_t user_count;
    unsigned peers;
    int closed;
};

// ---- the socket's file ----------------------------------------------------------------------------------------------

static int set_address(struct sockaddr_un *a, const char *path, struct error *e)
{
    memset(a, 0, sizeof *a);
    a->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof a->sun_path)
        return error_set(e, ERR_INVALID,
                         "the socket's path %s is too long: at most %zu bytes; choose another with --socket", path,
                         sizeof a->sun_path - 1);
    strcpy(a->sun_path, path);
    return 0;
}

static int make_socket(struct error *e)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0)
        return error_set_errno(e, ERR_FAILED, "cannot make a unix socket");
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
}

// A path is free when nothing is there, or a socket on which nobody listens any more.
static int check_free(const char *path, const struct sockaddr_un *a, struct error *e)
{
    struct stat st;
    if (lstat(path, &st))
        return errno == ENOENT ? 0 : error_set_errno(e, ERR_FAILED, "cannot listen on %s", path);
    if (!S_ISSOCK(st.st_mode))
        return error_set(e, ERR_FAILED, "cannot listen on %s: something that is no socket is in the way", path);
    int fd = make_socket(e);
    if (fd < 0)
        return -1;
    fcntl(fd, F_SETFL, O_NONBLOCK); // a full backlog means a living server too
    int rc = connect(fd, (const struct sockaddr *)a, sizeof *a), reason = errno;
    close(fd);
    if (rc && (reason == ECONNREFUSED || reason == ENOENT))
        return 0;
    return error_set(e, ERR_FAILED, "a server is already listening on %s", path);
}

// Bound and listening under a temporary name, then renamed: the socket appears with its mode, over a stale one too.
static int bind_socket(struct listener *l, const char *path, mode_t mode, struct error *e)
{
    struct sockaddr_un final, temporary;
    char *name = xprintf("%s.%ld", path, (long)getpid());
    int fd = -1, rc = -1;
    if (set_address(&final, path, e) || set_address(&temporary, name, e) || check_free(path, &final, e))
        goto out;
    fd = make_socket(e);
    if (fd < 0)
        goto out;
    unlink(name);
    struct stat st;
    if (bind(fd, (struct sockaddr *)&temporary, sizeof temporary) || chmod(name, mode) || listen(fd, RPC_BACKLOG) ||
        lstat(name, &st) || rename(name, path)) {
        error_set_errno(e, ERR_FAILED, "cannot listen on %s", path);
        unlink(name);
        goto out;
    }
    l->device = st.st_dev;
    l->inode = st.st_ino;
    rc = fd;
    fd = -1;
out:
    if (fd >= 0)
        close(fd);
    free(name);
    return rc;
}

static void remove_socket(const struct listener *l)
{
    struct stat st;
    if (!lstat(l->path, &st) && st.st_dev == l->device && st.st_ino == l->inode)
        unlink(l->path);
}

// ---- who connects ---------------------------------------------------------------------------------------------------

static const char *user_name(struct listener *l, uid_t uid)
{
    for (size_t i = 0; i < l->user_count; i++)
        if (l->users[i].uid == uid)
            return l->users[i].name;
    l->users = xrealloc(l->users, l->user_count + 1, sizeof *l->users);
    struct known_user *u = &l->users[l->user_count++];
    u->uid = uid;
    struct passwd entry, *found = NULL;
    char buffer[4096];
    if (!getpwuid_r(uid, &entry, buffer, sizeof buffer, &found) && found)
        snprintf(u->name, sizeof u->name, "%s", found->pw_name);
    else
        snprintf(u->name, sizeof u->name, "%lu", (unsigned long)uid);
    return u->name;
}

static void identify(struct listener *l, const uv_pipe_t *pipe, struct peer_identity *who)
{
    uv_os_fd_t fd;
    if (uv_fileno((const uv_handle_t *)pipe, &fd))
        return;
#ifdef SO_PEERCRED
    struct ucred credentials;
    socklen_t size = sizeof credentials;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size))
        return;
    who->uid = credentials.uid;
    who->pid = credentials.pid;
#else
    gid_t gid;
    if (getpeereid(fd, &who->uid, &gid))
        return;
#endif
    who->known = 1;
    snprintf(who->user, sizeof who->user, "%s", user_name(l, who->uid));
}

// ---- connections ----------------------------------------------------------------------------------------------------

static void free_if_done(struct listener *l)
{
    if (!l->closed || l->peers)
        return;
    free(l->users);
    free(l->path);
    free(l);
}

static void peer_gone(struct peer *p, void *owner)
{
    (void)p;
    struct listener *l = owner;
    l->peers--;
    free_if_done(l);
}

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void accept_one(uv_stream_t *server, int status)
{
    struct listener *l = server->data;
    if (status < 0)
        return; // out of descriptors or memory; libuv turns the connection away
    uv_pipe_t *pipe = xcalloc(1, sizeof *pipe);
    uv_pipe_init(l->loop, pipe, 0);
    if (uv_accept(server, (uv_stream_t *)pipe) || l->peers >= RPC_CONNECTIONS_MAX) {
        uv_close((uv_handle_t *)pipe, free_handle);
        return;
    }
    struct peer_setup setup = {.server = 1, .on_gone = peer_gone, .owner = l};
    identify(l, pipe, &setup.identity);
    struct peer *p = peer_create(l->loop, &setup);
    struct transport_user user = peer_transport_user(p);
    peer_attach(p, transport_stream((uv_stream_t *)pipe, &user));
    l->peers++;
    l->on_peer(l, p);
}

struct listener *listener_open_unix(uv_loop_t *loop, const char *path, mode_t mode, listener_peer_fn on_peer,
                                    void *context, struct error *e)
{
    struct listener *l = xcalloc(1, sizeof *l);
    int fd = bind_socket(l, path, mode, e);
    if (fd < 0) {
        free(l);
        return NULL;
    }
    l->loop = loop;
    l->path = xstrdup(path);
    l->on_peer = on_peer;
    l->context = context;
    uv_pipe_init(loop, &l->pipe, 0);
    l->pipe.data = l;
    int rc = uv_pipe_open(&l->pipe, fd);
    if (rc)
        close(fd);
    else
        rc = uv_listen((uv_stream_t *)&l->pipe, RPC_BACKLOG, accept_one);
    if (rc) {
        error_set(e, ERR_FAILED, "cannot listen on %s: %s", path, uv_strerror(rc));
        listener_close(l);
        return NULL;
    }
    return l;
}

void *listener_context(const struct listener *l)
{
    return l->context;
}

unsigned listener_peers(const struct listener *l)
{
    return l->peers;
}

static void pipe_closed(uv_handle_t *handle)
{
    struct listener *l = handle->data;
    l->closed = 1;
    free_if_done(l);
}

void listener_close(struct listener *l)
{
    if (uv_is_closing((uv_handle_t *)&l->pipe))
        return;
    remove_socket(l);
    uv_close((uv_handle_t *)&l->pipe, pipe_closed);
}

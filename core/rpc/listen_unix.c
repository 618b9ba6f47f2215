// A listener on a unix socket: the socket's file, and the users that the kernel says connect. See listen.h.
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
#include "core/rpc/listen_internal.h"
#include "core/rpc/protocol.h"

struct known_user {
    uid_t uid;
    char name[64];
};

struct socket_file {
    char *path;
    dev_t device; // of the file as it was made
    ino_t inode;
    struct known_user *users; // names looked up so far: a directory service may be slow
    size_t user_count;
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
static int bind_socket(struct socket_file *f, const char *path, mode_t mode, gid_t group, struct error *e)
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
    if (bind(fd, (struct sockaddr *)&temporary, sizeof temporary) || chmod(name, mode & S_IRWXU) ||
        (group != LISTENER_NO_GROUP && chown(name, (uid_t)-1, group)) || chmod(name, mode) || listen(fd, RPC_BACKLOG) ||
        lstat(name, &st) || rename(name, path)) {
        error_set_errno(e, ERR_FAILED, "cannot listen on %s", path);
        unlink(name);
        goto out;
    }
    f->device = st.st_dev;
    f->inode = st.st_ino;
    rc = fd;
    fd = -1;
out:
    if (fd >= 0)
        close(fd);
    free(name);
    return rc;
}

void socket_file_remove(const struct socket_file *f)
{
    struct stat st;
    if (!lstat(f->path, &st) && st.st_dev == f->device && st.st_ino == f->inode)
        unlink(f->path);
}

void socket_file_free(struct socket_file *f)
{
    if (!f)
        return;
    free(f->users);
    free(f->path);
    free(f);
}

// ---- who connects ---------------------------------------------------------------------------------------------------

static const char *user_name(struct socket_file *f, uid_t uid)
{
    for (size_t i = 0; i < f->user_count; i++)
        if (f->users[i].uid == uid)
            return f->users[i].name;
    f->users = xrealloc(f->users, f->user_count + 1, sizeof *f->users);
    struct known_user *u = &f->users[f->user_count++];
    u->uid = uid;
    struct passwd entry, *found = NULL;
    char buffer[4096];
    if (!getpwuid_r(uid, &entry, buffer, sizeof buffer, &found) && found)
        snprintf(u->name, sizeof u->name, "%s", found->pw_name);
    else
        snprintf(u->name, sizeof u->name, "%lu", (unsigned long)uid);
    return u->name;
}

void socket_file_identify(struct socket_file *f, const uv_handle_t *connection, struct peer_identity *who)
{
    uv_os_fd_t fd;
    if (uv_fileno(connection, &fd))
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
    snprintf(who->user, sizeof who->user, "%s", user_name(f, who->uid));
}

// ---- the listener ---------------------------------------------------------------------------------------------------

struct listener *listener_open_unix(uv_loop_t *loop, const char *path, mode_t mode, gid_t group,
                                    listener_peer_fn on_peer, void *context, struct error *e)
{
    struct socket_file *f = xcalloc(1, sizeof *f);
    int fd = bind_socket(f, path, mode, group, e);
    if (fd < 0) {
        free(f);
        return NULL;
    }
    f->path = xstrdup(path);
    struct listener *l = listener_new(loop, on_peer, context);
    l->file = f;
    snprintf(l->address, sizeof l->address, "unix:%s", path);
    uv_pipe_init(loop, &l->socket.pipe, 0);
    int rc = uv_pipe_open(&l->socket.pipe, fd);
    if (rc) {
        close(fd);
        error_set(e, ERR_FAILED, "cannot listen on %s: %s", path, uv_strerror(rc));
        listener_close(l);
        return NULL;
    }
    return listener_start(l, e) ? NULL : l;
}

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

// A connection that waits for its user's name.
struct nameless {
    struct nameless *next;
    struct peer_identity who;
    identified_fn on_identified;
    void *context;
};

// One user's name is being looked up.
struct lookup {
    struct lookup *next;
    uv_work_t work;
    struct socket_file *file;
    struct nameless *waiting;
    struct known_user user;
    int rc; // 0: the name, or that there is none
};

struct socket_file {
    char *path;
    dev_t device; // of the file as it was made
    ino_t inode;
    struct known_user *users; // names looked up so far: a directory service may be slow
    size_t user_count;
    struct lookup *lookups; // under way
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

static const char *known_name(const struct socket_file *f, uid_t uid)
{
    for (size_t i = 0; i < f->user_count; i++)
        if (f->users[i].uid == uid)
            return f->users[i].name;
    return NULL;
}

static void look_up(uv_work_t *work)
{
    struct lookup *l = work->data;
    struct passwd entry, *found = NULL;
    char buffer[4096];
    l->rc = getpwuid_r(l->user.uid, &entry, buffer, sizeof buffer, &found);
    if (!l->rc && found)
        snprintf(l->user.name, sizeof l->user.name, "%s", found->pw_name);
    else
        snprintf(l->user.name, sizeof l->user.name, "%lu", (unsigned long)l->user.uid);
}

static void looked_up(uv_work_t *work, int status)
{
    struct lookup *l = work->data, **at;
    struct socket_file *f = l->file;
    (void)status; // only a cancel would set it, and nothing here cancels
    for (at = &f->lookups; *at != l;)
        at = &(*at)->next;
    *at = l->next;
    if (!l->rc) { // else it is asked again: a directory service that fails now may answer the next time
        f->users = xrealloc(f->users, f->user_count + 1, sizeof *f->users);
        f->users[f->user_count++] = l->user;
    }
    for (struct nameless *n = l->waiting, *next; n; n = next) { // the last one may free f
        next = n->next;
        snprintf(n->who.user, sizeof n->who.user, "%s", l->user.name);
        n->on_identified(n->context, &n->who);
        free(n);
    }
    free(l);
}

static void wait_for_name(struct socket_file *f, uv_loop_t *loop, struct nameless *n)
{
    struct lookup *l = f->lookups;
    while (l && l->user.uid != n->who.uid)
        l = l->next;
    if (!l) {
        l = xcalloc(1, sizeof *l);
        l->work.data = l;
        l->file = f;
        l->user.uid = n->who.uid;
        l->next = f->lookups;
        f->lookups = l;
        uv_queue_work(loop, &l->work, look_up, looked_up);
    }
    n->next = l->waiting;
    l->waiting = n;
}

static void ask_kernel(const uv_handle_t *connection, struct peer_identity *who)
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
}

void socket_file_identify(struct socket_file *f, uv_loop_t *loop, const uv_handle_t *connection,
                          identified_fn on_identified, void *context)
{
    struct peer_identity who = {.known = 0};
    ask_kernel(connection, &who);
    const char *name = who.known ? known_name(f, who.uid) : "";
    if (name) {
        snprintf(who.user, sizeof who.user, "%s", name);
        on_identified(context, &who);
        return;
    }
    struct nameless *n = xmalloc(sizeof *n);
    *n = (struct nameless){.who = who, .on_identified = on_identified, .context = context};
    wait_for_name(f, loop, n);
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

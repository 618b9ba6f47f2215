// What a process does before it becomes a server: see serve.h.
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "daemon/serve.h"

void server_prepare_process(void)
{
    struct rlimit files;
    umask(0027); // what is in the directory is the user's and the group's
    signal(SIGPIPE, SIG_IGN);
    setenv("UV_THREADPOOL_SIZE", "8", 0); // reads must not wait behind the fsync of a large upload
    if (!getrlimit(RLIMIT_NOFILE, &files) && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max; // a descriptor a connection; nothing here uses select()
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

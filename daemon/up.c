// islrd up: the server and its workers on one machine, for one user. The server runs in this process, the workers under
// mpirun in a process group of their own, so that ctrl-c reaches this program alone; if they end they are started
// again, with longer and longer waits as long as they do not last a minute.
//
// The end: the server asks running jobs to save (server_quiesce), then mpirun is told to end, then the server stops.
// A second ctrl-c does not wait. If this process is killed, mpirun gets SIGTERM from the kernel (PR_SET_PDEATHSIG) and
// takes its ranks with it.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/base/options.h"
#include "core/base/parallel.h"
#include "core/rpc/protocol.h"
#include "daemon/command.h"
#include "daemon/serve.h"
#include "daemon/watchdog.h"

enum {
    WAIT_FIRST_MS = 1000,
    WAIT_LAST_MS = 60000,
    HEALTHY_MS = 60000,    // workers that lasted so long are started again at once, as it were
    QUIET_MAX_MS = 60000,  // for jobs to save at the end
    MPIRUN_MAX_MS = 10000, // for mpirun to end after SIGTERM
    SIGNALS = 4
};

enum phase { RUNNING, QUIETING, ENDING_WORKERS, STOPPING };

struct up {
    uv_loop_t loop;
    uv_signal_t signals[SIGNALS]; // INT, TERM, CHLD, HUP
    uv_timer_t timer;             // to the next start, or the limit of a phase
    const struct log *log;
    struct server *server;
    char **command; // mpirun's
    enum phase phase;
    pid_t workers; // mpirun, 0: not running
    uint64_t started_at, wait_ms;
    int failed;
};

// ---- mpirun ---------------------------------------------------------------------------------------------------------

static int on_path(const char *program)
{
    const char *path = getenv("PATH");
    for (const char *p = path ? path : "/usr/bin:/bin"; *p;) {
        size_t n = strcspn(p, ":");
        char *candidate = xprintf("%.*s/%s", (int)n, p, program);
        int found = access(candidate, X_OK) == 0;
        free(candidate);
        if (found)
            return 1;
        p += n + (p[n] == ':');
    }
    return 0;
}

struct arguments {
    char **items;
    size_t count;
};

static void add(struct arguments *a, char *text)
{
    a->items = xrealloc(a->items, a->count + 2, sizeof *a->items);
    a->items[a->count++] = text;
    a->items[a->count] = NULL;
}

// --bind-to none: Open MPI would pin each of one or two ranks to a single core; here a rank's threads are spread by the
// kernel over all cores, and their number sees to it that there are not more than cores.
static char **mpirun_command(int64_t ranks, int64_t threads, const char *device, const char *socket)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    struct arguments a = {0};
    add(&a, xstrdup("mpirun"));
    if (geteuid() == 0)
        add(&a, xstrdup("--allow-run-as-root"));
    add(&a, xstrdup("--oversubscribe"));
    add(&a, xstrdup("--bind-to"));
    add(&a, xstrdup("none"));
    add(&a, xstrdup("-np"));
    add(&a, xprintf("%lld", (long long)ranks));
    add(&a, xstrdup(self));
    add(&a, xstrdup("work"));
    add(&a, xprintf("--server=unix:%s", socket));
    add(&a, xprintf("--device=%s", device));
    if (threads > 0)
        add(&a, xprintf("--threads=%lld", (long long)threads));
    return a.items;
}

// In the child, where only async-signal-safe calls are allowed: this process has threads.
static void become_mpirun(char **command, pid_t parent)
{
    setpgid(0, 0);
    signal(SIGINT, SIG_DFL); // not libuv's handlers, which would keep it to themselves until execvp()
    signal(SIGTERM, SIG_DFL);
    signal(SIGCHLD, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(1); // it died in between
    signal(SIGPIPE, SIG_DFL);
    int null = open("/dev/null", O_RDONLY);
    if (null >= 0)
        dup2(null, STDIN_FILENO);
    dup2(STDERR_FILENO, STDOUT_FILENO); // results are not what workers say
    execvp(command[0], command);
    _exit(127);
}

static void start_workers(struct up *u)
{
    pid_t parent = getpid(), child = fork();
    if (child == 0)
        become_mpirun(u->command, parent);
    u->started_at = uv_now(&u->loop);
    u->workers = child > 0 ? child : 0;
    if (child < 0)
        log_error(u->log, "cannot start mpirun: %s", strerror(errno));
}

static void start_again(uv_timer_t *timer)
{
    start_workers(timer->data);
}

static void plan_restart(struct up *u, const char *how)
{
    char wait[32];
    if (uv_now(&u->loop) - u->started_at >= HEALTHY_MS)
        u->wait_ms = WAIT_FIRST_MS;
    log_warn(u->log, "the workers have ended (%s); they are started again in %s", how,
             clock_format((double)u->wait_ms / 1000, wait));
    uv_timer_start(&u->timer, start_again, u->wait_ms, 0);
    u->wait_ms = 2 * u->wait_ms < WAIT_LAST_MS ? 2 * u->wait_ms : WAIT_LAST_MS;
}

// ---- the end --------------------------------------------------------------------------------------------------------

static void stopped(void *context)
{
    struct up *u = context;
    for (int i = 0; i < SIGNALS; i++)
        uv_close((uv_handle_t *)&u->signals[i], NULL);
    uv_close((uv_handle_t *)&u->timer, NULL);
}

static void stop_server(struct up *u)
{
    u->phase = STOPPING;
    uv_timer_stop(&u->timer);
    server_stop(u->server, stopped, u);
}

static void kill_workers(uv_timer_t *timer)
{
    struct up *u = timer->data;
    if (!u->workers)
        return;
    log_warn(u->log, "mpirun does not end: it is killed");
    kill(-u->workers, SIGKILL);
}

static void end_workers(struct up *u)
{
    u->phase = ENDING_WORKERS;
    if (!u->workers) {
        stop_server(u);
        return;
    }
    kill(u->workers, SIGTERM);
    uv_timer_start(&u->timer, kill_workers, MPIRUN_MAX_MS, 0);
}

static void quiet(void *context)
{
    struct up *u = context;
    if (u->phase == QUIETING)
        end_workers(u);
}

static void not_quiet(uv_timer_t *timer)
{
    struct up *u = timer->data;
    log_warn(u->log, "the jobs have not saved in time: they will go on from their last resume points");
    end_workers(u);
}

static void begin_end(struct up *u)
{
    u->phase = QUIETING;
    uv_timer_start(&u->timer, not_quiet, QUIET_MAX_MS, 0);
    server_quiesce(u->server, quiet, u);
}

// ---- signals --------------------------------------------------------------------------------------------------------

static void on_interrupt(uv_signal_t *signal, int number)
{
    struct up *u = signal->data;
    if (number == SIGHUP) {
        server_reload(u->server);
        return;
    }
    switch (u->phase) {
    case RUNNING:
        log_info(u->log, "stopping: running jobs save where they are (once more to stop at once)");
        begin_end(u);
        break;
    case QUIETING:
        end_workers(u);
        break;
    case ENDING_WORKERS:
        kill_workers(&u->timer);
        break;
    case STOPPING:
        server_stop(u->server, stopped, u); // once more: at once
        break;
    }
}

static void on_child(uv_signal_t *signal, int number)
{
    struct up *u = signal->data;
    int status;
    char how[64];
    (void)number;
    if (!u->workers || waitpid(u->workers, &status, WNOHANG) != u->workers)
        return;
    u->workers = 0;
    if (WIFSIGNALED(status))
        snprintf(how, sizeof how, "signal %d", WTERMSIG(status));
    else
        snprintf(how, sizeof how, "exit code %d", WEXITSTATUS(status));
    if (u->phase == RUNNING)
        plan_restart(u, how);
    else if (u->phase == ENDING_WORKERS)
        stop_server(u);
    // QUIETING: their runs are lost to the server too, and it will be quiet
}

// ---- the command ----------------------------------------------------------------------------------------------------

static int go(struct up *u, const struct server_options *options, int64_t ranks, int64_t threads, const char *device)
{
    static const int numbers[SIGNALS] = {SIGINT, SIGTERM, SIGCHLD, SIGHUP};
    struct error e;
    uv_loop_init(&u->loop);
    u->server = server_open(&u->loop, options, &e);
    if (!u->server) {
        log_error(u->log, "%s", e.text);
        uv_loop_close(&u->loop);
        return e.code;
    }
    u->wait_ms = WAIT_FIRST_MS;
    u->command = mpirun_command(ranks, threads, device, server_socket(u->server));
    uv_timer_init(&u->loop, &u->timer);
    u->timer.data = u;
    for (int i = 0; i < SIGNALS; i++) {
        uv_signal_init(&u->loop, &u->signals[i]);
        u->signals[i].data = u;
        if (numbers[i] != SIGHUP || options->listen) // else a terminal that goes away ends it
            uv_signal_start(&u->signals[i], numbers[i] == SIGCHLD ? on_child : on_interrupt, numbers[i]);
    }
    log_info(u->log, "islrd %s serves %s on unix:%s, with %lld ranks", ISLR_VERSION, server_directory(u->server),
             server_socket(u->server), (long long)ranks);
    start_workers(u);
    uv_run(&u->loop, UV_RUN_DEFAULT);
    uv_loop_close(&u->loop);
    for (char **p = u->command; *p; p++)
        free(*p);
    free(u->command);
    return 0;
}

int command_up(int argc, char **argv)
{
    struct log log = {stderr, LOG_INFO, NULL};
    struct server_options serve = {.log = &log};
    struct up up = {.log = &log};
    int64_t ranks = 1, threads = 0;
    const char *device = "auto";
    double lease = RPC_IDLE_MS / 1e3, hang = HANG_SECONDS, settle = SETTLE_SECONDS;
    bool verbose = false;
    const struct option_row options[] = {
        {'n', "ranks", "N", "worker ranks on this machine", OPTION_INT, &ranks, .min = 1, .max = 4096},
        {0, "threads", "N", "threads of each rank", OPTION_INT, &threads, .min = 1, .max = 4096,
         .default_shown = "the cores, shared evenly"},
        {0, "device", "auto|cpu|cuda", "what the ranks compute on", OPTION_CHOICE, &device},
        SERVER_OPTION_ROWS(&serve),
        OPTION_LEASE(&lease),
        OPTION_HANG(&hang),
        OPTION_SETTLE(&settle),
        {'v', "verbose", NULL, "also log what is normal", OPTION_FLAG, &verbose},
        {0}};
    const struct usage usage = {
        "islrd up",
        "server and workers on this machine, until ctrl-c",
        options,
        NULL,
        "islrd up -n 2 &\nislrctl submit deploy/jobs/tiny.yaml --follow",
        "The workers run under mpirun (--bind-to none: their threads share all cores) and are started again when they "
        "end.\n"
        "Ctrl-c lets running jobs save where they are; they go on when `islrd up` is started again."};
    int code;
    if (!options_parse(&usage, argc, argv, &code))
        return code;
    if (verbose)
        log.level = LOG_DEBUG;
    serve.lease_ms = (uint32_t)(lease * 1e3);
    serve.hang_ms = (uint32_t)(hang * 1e3);
    serve.settle_ms = (uint32_t)(settle * 1e3);
    if (!on_path("mpirun")) {
        log_error(&log, "mpirun is not installed (Debian, Ubuntu: apt-get install openmpi-bin)");
        return ERR_FAILED;
    }
    if (!threads)
        threads = parallel_cores() > ranks ? parallel_cores() / ranks : 1;
    server_prepare_process();
    return go(&up, &serve, ranks, threads, device);
}

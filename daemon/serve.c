// islrd serve: the control server as a process of its own.
#include "daemon/serve.h"
#include "daemon/watchdog.h"

#include <signal.h>

#include "core/base/options.h"
#include "core/rpc/protocol.h"
#include "daemon/command.h"

enum { SIGNALS = 3 };

struct serving {
    uv_loop_t loop;
    uv_signal_t signals[SIGNALS];
    struct server *server;
    const struct log *log;
    int stopping; // how often it was asked to
};

static void stopped(void *context)
{
    struct serving *s = context;
    for (int i = 0; i < SIGNALS; i++)
        uv_close((uv_handle_t *)&s->signals[i], NULL);
}

static void on_signal(uv_signal_t *signal, int number)
{
    struct serving *s = signal->data;
    if (!s->server)
        return; // it could not be opened: the program ends anyway
    if (number == SIGHUP) {
        server_reload(s->server);
        return;
    }
    const char *why = number == SIGINT ? "interrupted" : "asked to end";
    if (s->stopping++)
        log_info(s->log, "%s again: connections are cut", why);
    else
        log_info(s->log, "%s: stopping; workers train on and look for the server again (once more to cut connections)",
                 why);
    server_stop(s->server, stopped, s);
}

static int serve(struct serving *s, const struct server_options *options)
{
    struct error e;
    static const int numbers[SIGNALS] = {SIGINT, SIGTERM, SIGHUP};
    uv_loop_init(&s->loop);
    s->log = options->log;
    s->server = NULL;
    s->stopping = 0;
    for (int i = 0; i < SIGNALS; i++) { // first, so that one that comes while the server starts ends it in good order
        uv_signal_init(&s->loop, &s->signals[i]);
        s->signals[i].data = s;
        uv_signal_start(&s->signals[i], on_signal, numbers[i]);
        uv_unref((uv_handle_t *)&s->signals[i]);
    }
    s->server = server_open(&s->loop, options, &e);
    if (!s->server) {
        log_error(s->log, "%s", e.text);
        stopped(s);
        uv_run(&s->loop, UV_RUN_DEFAULT);
        uv_loop_close(&s->loop);
        return e.code;
    }
    log_info(s->log, "islrd %s serves %s on unix:%s", ISLR_VERSION, server_directory(s->server),
             server_socket(s->server));
    uv_run(&s->loop, UV_RUN_DEFAULT);
    uv_loop_close(&s->loop);
    return 0;
}

int command_serve(int argc, char **argv)
{
    struct log log = {stderr, LOG_INFO, NULL};
    struct server_options serve_options = {.log = &log};
    double lease = RPC_IDLE_MS / 1e3, hang = HANG_SECONDS, settle = SETTLE_SECONDS;
    bool verbose = false;
    const struct option_row options[] = {SERVER_OPTION_ROWS(&serve_options),
                                         OPTION_LEASE(&lease),
                                         OPTION_HANG(&hang),
                                         OPTION_SETTLE(&settle),
                                         {'v', "verbose", NULL, "also log what is normal", OPTION_FLAG, &verbose},
                                         {0}};
    const struct usage usage = {
        "islrd serve",
        "control server: queue, history, artifacts; workers and clients connect to it",
        options,
        NULL,
        "islrd serve --dir /srv/islr &\nmpirun -np 4 islrd work --server unix:/srv/islr/islr.sock\n"
        "islrd serve --listen 0.0.0.0:7443   # then, there: islrctl token create --user ann; ann: islrctl login "
        "tls:HOST:7443",
        "On the unix socket the kernel says who is there: the server's user and root are admins, others submitters by\n"
        "their login name. Over the network a token says it. SIGHUP reads the certificate again, SIGTERM and ctrl-c "
        "end it (a second one cuts connections that do not read); what was acknowledged is durable, running jobs go on "
        "without it and\n"
        "deliver what it missed when it is back. `islrd up` is this and the workers in one."};
    int code;
    if (!options_parse(&usage, argc, argv, &code))
        return code;
    if (verbose)
        log.level = LOG_DEBUG;
    serve_options.lease_ms = (uint32_t)(lease * 1e3);
    serve_options.hang_ms = (uint32_t)(hang * 1e3);
    serve_options.settle_ms = (uint32_t)(settle * 1e3);
    server_prepare_process();
    struct serving serving;
    return serve(&serving, &serve_options);
}

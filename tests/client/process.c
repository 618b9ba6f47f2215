// islrctl as a process of the test's, its output caught: see scripted.h.
#include "tests/client/scripted.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/memory.h"

enum { PATIENCE_MS = 100000, LOOK_MS = 10, ARGUMENTS_MAX = 32 };

struct capture {
    uv_pipe_t pipe;
    struct strbuf text;
    int *open;
};

struct process {
    uv_process_t handle;
    uv_timer_t patience, look;
    struct scripted *server;
    int (*until)(const struct scripted *s, const char *out);
    struct capture out, err;
    int open; // captures and the process itself
    int code;
};

static void allocate(uv_handle_t *handle, size_t size, uv_buf_t *buffer)
{
    (void)handle;
    (void)size;
    *buffer = uv_buf_init(xmalloc(65536), 65536);
}

static void caught(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct capture *c = stream->data;
    if (n > 0)
        strbuf_add(&c->text, buffer->base, (size_t)n);
    else if (n < 0) { // a terminal ends with EIO
        uv_close((uv_handle_t *)stream, NULL);
        --*c->open;
    }
    free(buffer->base);
}

static void exited(uv_process_t *handle, int64_t status, int signal)
{
    struct process *p = handle->data;
    p->code = signal ? 128 + signal : (int)status;
    p->open--;
}

static void too_long(uv_timer_t *timer)
{
    struct process *p = timer->data;
    uv_process_kill(&p->handle, SIGKILL);
}

static void interrupt(uv_timer_t *timer)
{
    struct process *p = timer->data;
    char *shown = xprintf("%.*s", (int)p->out.text.length, p->out.text.text ? p->out.text.text : "");
    if (p->until(p->server, shown)) {
        uv_timer_stop(timer);
        uv_process_kill(&p->handle, SIGINT);
    }
    free(shown);
}

static void start_capture(struct process *p, struct capture *c, uv_loop_t *loop, int fd)
{
    uv_pipe_init(loop, &c->pipe, 0);
    assert_int_equal(uv_pipe_open(&c->pipe, fd), 0);
    c->pipe.data = c;
    c->open = &p->open;
    p->open++;
    uv_read_start((uv_stream_t *)&c->pipe, allocate, caught);
}

static void spawn(struct process *p, struct scripted *s, int out, int err, const char *const *arguments)
{
    char *argv[ARGUMENTS_MAX + 2] = {getenv("ISLRCTL")};
    uv_stdio_container_t stdio[3] = {{.flags = UV_IGNORE}, {.flags = UV_INHERIT_FD}, {.flags = UV_INHERIT_FD}};
    uv_process_options_t options = {.exit_cb = exited, .args = argv, .stdio_count = 3, .stdio = stdio};
    char server[128];
    assert_non_null(argv[0]);
    for (int i = 0; arguments[i]; i++) {
        assert_true(i < ARGUMENTS_MAX);
        argv[i + 1] = (char *)arguments[i];
    }
    snprintf(server, sizeof server, "unix:%s", s->rig.path);
    setenv("ISLR_SERVER", server, 1);
    setenv("XDG_CONFIG_HOME", s->rig.directory, 1); // no settings of whoever runs the tests
    options.file = argv[0];
    stdio[1].data.fd = out;
    stdio[2].data.fd = err;
    p->handle.data = p;
    p->open++;
    int rc = uv_spawn(&s->rig.loop, &p->handle, &options);
    if (rc)
        fail_msg("%s: %s", argv[0], uv_strerror(rc));
}

static void run(struct process *p, struct scripted *s)
{
    p->server = s;
    uv_timer_init(&s->rig.loop, &p->patience);
    uv_timer_init(&s->rig.loop, &p->look);
    p->patience.data = p->look.data = p;
    uv_update_time(&s->rig.loop);
    uv_timer_start(&p->patience, too_long, PATIENCE_MS, 0);
    if (p->until)
        uv_timer_start(&p->look, interrupt, LOOK_MS, LOOK_MS);
    while (p->open)
        uv_run(&s->rig.loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&p->patience, NULL);
    uv_close((uv_handle_t *)&p->look, NULL);
    uv_close((uv_handle_t *)&p->handle, NULL);
    uv_run(&s->rig.loop, UV_RUN_NOWAIT);
    strbuf_add(&p->out.text, "", 1);
    strbuf_add(&p->err.text, "", 1);
}

struct outcome scripted_run(struct scripted *s, const char *const *arguments)
{
    struct process p = {.open = 0};
    int out[2], err[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(pipe2(err, O_CLOEXEC), 0);
    start_capture(&p, &p.out, &s->rig.loop, out[0]);
    start_capture(&p, &p.err, &s->rig.loop, err[0]);
    spawn(&p, s, out[1], err[1], arguments);
    close(out[1]);
    close(err[1]);
    run(&p, s);
    return (struct outcome){p.code, p.out.text.text, p.err.text.text};
}

struct outcome scripted_run_on_terminal(struct scripted *s, int (*until)(const struct scripted *s, const char *out),
                                        const char *const *arguments)
{
    struct process p = {.until = until};
    struct winsize size = {.ws_row = 24, .ws_col = 100};
    int master, slave;
    assert_int_equal(openpty(&master, &slave, NULL, NULL, &size), 0);
    start_capture(&p, &p.out, &s->rig.loop, master);
    spawn(&p, s, slave, slave, arguments);
    close(slave);
    run(&p, s);
    return (struct outcome){p.code, p.out.text.text, p.err.text.text};
}

void outcome_free(struct outcome *o)
{
    free(o->out);
    free(o->err);
}

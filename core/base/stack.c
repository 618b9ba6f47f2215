// Call stacks of all threads: see stack.h. Each thread is sent a signal that carries the address of where to put its
// frames, so that nothing here is global; backtrace() allocates nothing after its first call (backtrace(3)).
#include "core/base/stack.h"

#include <dirent.h>
#include <execinfo.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/base/symbols.h"

enum { FRAMES_MAX = 48, THREADS_MAX = 256, STACKS_MAX = 12, BRIEF_FRAMES = 4 };
static const double ANSWER_SECONDS = 0.5; // for all threads together

struct stack {
    pid_t thread;
    atomic_int asked; // set last: whoever sees it sees the rest as it was then
    atomic_int count; // of frames; 0: it has not answered
    int skip;         // the handler's own
    void *frames[FRAMES_MAX];
    int as; // index of the first one with the same frames
};

static void *interrupted_at(const ucontext_t *context)
{
#if defined(__x86_64__)
    return (void *)context->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (void *)context->uc_mcontext.pc;
#else
    (void)context;
    return NULL;
#endif
}

static void answer(int number, siginfo_t *info, void *context)
{
    struct stack *s = info->si_value.sival_ptr;
    (void)number;
    if (info->si_code != SI_QUEUE || info->si_pid != getpid() || !s || !atomic_load(&s->asked))
        return;
    int n = backtrace(s->frames, FRAMES_MAX);
    void *at = interrupted_at(context);
    for (int i = 0; i < n && !s->skip; i++)
        if (s->frames[i] == at)
            s->skip = i;
    atomic_store(&s->count, n);
}

int stack_prepare(struct error *e)
{
    void *frame[1];
    struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
    backtrace(frame, 1); // loads what it needs
    if (sigaction(STACK_SIGNAL, &action, NULL))
        return error_set_errno(e, ERR_FAILED, "cannot take signal %d for stacks", STACK_SIGNAL);
    return 0;
}

// ---- asking ---------------------------------------------------------------------------------------------------------

static void ask(struct stack *s)
{
    siginfo_t info = {.si_signo = STACK_SIGNAL, .si_code = SI_QUEUE};
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value.sival_ptr = s;
    atomic_store(&s->asked, 1);
    syscall(SYS_rt_tgsigqueueinfo, getpid(), s->thread, STACK_SIGNAL, &info);
}

// The threads in the order of their numbers: the first one is the program's.
static size_t list_threads(struct stack *list)
{
    pid_t self = (pid_t)syscall(SYS_gettid);
    DIR *d = opendir("/proc/self/task");
    size_t n = 0;
    for (struct dirent *entry; d && n < THREADS_MAX && (entry = readdir(d));) {
        pid_t thread = (pid_t)strtol(entry->d_name, NULL, 10);
        if (thread > 0 && thread != self)
            list[n++].thread = thread;
    }
    if (d)
        closedir(d);
    return n;
}

static void wait_for_answers(struct stack *list, size_t n)
{
    double until = clock_seconds() + ANSWER_SECONDS;
    for (size_t i = 0; i < n; i++)
        while (!atomic_load(&list[i].count) && clock_seconds() < until)
            clock_sleep(0.005);
}

static int same(const struct stack *a, const struct stack *b)
{
    int n = a->count - a->skip;
    return n > 0 && n == b->count - b->skip &&
           !memcmp(a->frames + a->skip, b->frames + b->skip, (size_t)n * sizeof *a->frames);
}

// ---- telling --------------------------------------------------------------------------------------------------------

// First line of /proc/self/task/THREAD/NAME.
static void read_word(pid_t thread, const char *name, char word[64])
{
    char path[80];
    snprintf(path, sizeof path, "/proc/self/task/%d/%s", thread, name);
    FILE *f = fopen(path, "re");
    if (!f || !fgets(word, 64, f))
        strcpy(word, "?");
    if (f)
        fclose(f);
    word[strcspn(word, "\n")] = 0;
}

static void tell_silent(struct strbuf *out, const struct stack *s)
{
    char status[64], where[64];
    read_word(s->thread, "stat", status);
    read_word(s->thread, "wchan", where);
    const char *state = strrchr(status, ')');
    strbuf_printf(out, "  does not answer: state %c, in the kernel at %s\n", state && state[1] ? state[2] : '?', where);
}

// All frames but the innermost are return addresses: behind the call, which may be the next function.
static void find_function(const struct symbols *symbols, const struct stack *s, int i, char name[128], char place[160])
{
    symbols_find(symbols, (char *)s->frames[i] - (i > s->skip), name, place);
}

static void tell_frames(struct strbuf *out, const struct symbols *symbols, const struct stack *s)
{
    char name[128], place[160];
    for (int i = s->skip; i < s->count; i++) {
        find_function(symbols, s, i, name, place);
        strbuf_printf(out, "  #%d %s (%s)\n", i - s->skip, *name ? name : "?", place);
    }
}

// Whether it only waits for other threads of the process, as far as its innermost functions tell.
static int waits_for_threads(const struct symbols *symbols, const struct stack *s)
{
    static const char *const waits[] = {"pthread_join", "pthread_cond", "epoll_", "sem_wait", "gomp_", "GOMP_"};
    char name[128], place[160];
    for (int i = s->skip; i < s->count && i < s->skip + BRIEF_FRAMES; i++) {
        find_function(symbols, s, i, name, place);
        for (size_t k = 0; k < sizeof waits / sizeof *waits; k++)
            if (strstr(name, waits[k]))
                return 1;
    }
    return 0;
}

static void tell_brief(const struct symbols *symbols, const struct stack *s, char brief[STACK_BRIEF])
{
    char name[128], place[160];
    size_t length = 0;
    int named = 0;
    brief[0] = 0;
    for (int i = s->skip; i < s->count && named < BRIEF_FRAMES; i++) {
        find_function(symbols, s, i, name, place);
        if (!*name)
            continue;
        int n = snprintf(brief + length, STACK_BRIEF - length, "%s%s", named++ ? " < " : "", name);
        length += (size_t)n < STACK_BRIEF - length ? (size_t)n : STACK_BRIEF - length - 1;
    }
}

static char *tell(struct stack *list, size_t n, char brief[STACK_BRIEF])
{
    struct symbols *symbols = symbols_open();
    struct strbuf out = {0};
    size_t told = 0, blamed = 0;
    while (blamed < n && (!list[blamed].count || waits_for_threads(symbols, &list[blamed])))
        blamed++;
    tell_brief(symbols, &list[blamed < n ? blamed : 0], brief);
    for (size_t i = 0; i < n; i++) {
        char name[64];
        size_t alike = 0;
        if (list[i].as != (int)i || told++ >= STACKS_MAX)
            continue;
        for (size_t k = i + 1; k < n; k++)
            alike += list[k].as == (int)i;
        read_word(list[i].thread, "comm", name);
        strbuf_printf(&out, "thread %d (%s)", list[i].thread, name);
        if (alike)
            strbuf_printf(&out, " and %zu more at the same place", alike);
        strbuf_printf(&out, ":\n");
        if (list[i].count)
            tell_frames(&out, symbols, &list[i]);
        else
            tell_silent(&out, &list[i]);
    }
    if (told > STACKS_MAX)
        strbuf_printf(&out, "and %zu more\n", told - STACKS_MAX);
    symbols_close(symbols);
    return out.text ? out.text : xstrdup("");
}

char *stack_describe(char brief[STACK_BRIEF])
{
    struct stack *list = xcalloc(THREADS_MAX, sizeof *list);
    size_t n = list_threads(list), silent = 0;
    for (size_t i = 0; i < n; i++)
        ask(&list[i]);
    wait_for_answers(list, n);
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        while (k < i && !same(&list[k], &list[i]))
            k++;
        list[i].as = (int)k;
    }
    brief[0] = 0;
    char *text = tell(list, n, brief);
    for (size_t i = 0; i < n; i++)
        silent += !atomic_load(&list[i].count);
    if (!silent) // else a late answer may still be written there
        free(list);
    return text;
}

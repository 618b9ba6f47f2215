// Dispatch to a program's commands: see command.h.
#include "core/base/command.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/error.h"
#include "core/base/nearest.h"

enum { NAMES_MAX = 64 };

static void print_help(const char *program, const char *about, const struct command *commands)
{
    printf("%s: %s\n\nusage: %s COMMAND [OPTION..]   (%s COMMAND --help: its options and an example)\n\n", program,
           about, program, program);
    size_t width = strlen("--version");
    for (const struct command *c = commands; c->name; c++)
        width = strlen(c->name) > width ? strlen(c->name) : width;
    for (const struct command *c = commands; c->name; c++)
        printf("  %-*s  %s\n", (int)width, c->name, c->summary);
    printf("\n  %-*s  this text\n  %-*s  the program's version\n", (int)width, "--help", (int)width, "--version");
    printf("\nExit codes: 0 done; 1 the work failed; 2 bad usage or an invalid job; 3 no such thing; 4 server not\n"
           "reachable; 5 not permitted; 6 timed out; 7 damaged data; 130 interrupted.\n");
}

static int fault_unknown(const char *program, const struct command *commands, const char *given)
{
    const char *names[NAMES_MAX];
    size_t count = 0;
    for (const struct command *c = commands; c->name && count < NAMES_MAX; c++)
        names[count++] = c->name;
    const char *near = nearest_name(given, names, count);
    fprintf(stderr, "%s: there is no command '%s'", program, given);
    if (near)
        fprintf(stderr, "; did you mean '%s'?", near);
    fprintf(stderr, " (%s --help lists them)\n", program);
    return ERR_INVALID;
}

int command_main(const char *program, const char *about, const struct command *commands, int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "%s: a command is missing (%s --help lists them)\n", program, program);
        return ERR_INVALID;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        print_help(program, about, commands);
        return 0;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("%s %s\n", program, ISLR_VERSION);
        return 0;
    }
    for (const struct command *c = commands; c->name; c++)
        if (!strcmp(argv[1], c->name))
            return c->run(argc - 1, argv + 1);
    return fault_unknown(program, commands, argv[1]);
}

// What was closed is opened for reading alone: there is nothing to read, and writing fails as it would have.
static int open_standard(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) != fd) // the lowest free one
            return -1;
    return 0;
}

int program_main(const char *program, const char *about, const struct command *commands, int argc, char **argv)
{
    if (open_standard()) {
        fprintf(stderr, "%s: a standard descriptor is closed, and /dev/null cannot be opened: %s\n", program,
                strerror(errno));
        return ERR_FAILED;
    }
    int code = command_main(program, about, commands, argc, argv);
    if (!fflush(stdout) && !ferror(stdout))
        return code;
    if (errno != EPIPE) // a pager that was left
        fprintf(stderr, "%s: cannot write the output: %s\n", program, strerror(errno));
    return code ? code : ERR_FAILED;
}

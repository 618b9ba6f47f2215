// A program of several commands ("islrd run", "islrctl submit"): its table of them, and the dispatch.
#ifndef ISLR_BASE_COMMAND_H
#define ISLR_BASE_COMMAND_H

// An array of them ends with {0}.
struct command {
    const char *name;
    const char *summary;               // half a sentence, for the program's --help
    int (*run)(int argc, char **argv); // argv[0] is the command's name; returns the program's exit code
};

// Runs the command that argv[1] names; --help and --version; an unknown command is answered with the nearest known one
// (exit code 2). `about` is the program in half a sentence.
int command_main(const char *program, const char *about, const struct command *commands, int argc, char **argv);

// What main() returns: command_main(), with descriptors 0 to 2 open, so that no file or socket of the program's becomes its
// standard output, and ERR_FAILED for output that could not be written.
int program_main(const char *program, const char *about, const struct command *commands, int argc, char **argv);

#endif

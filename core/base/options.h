// Command lines by table, for islrd and islrctl: the table parses the arguments, says what was wrong with them and
// prints --help, so that the three cannot disagree.
//
//     static int run(int argc, char **argv)
//     {
//         int64_t ranks = 1;
//         const char *directory = "~/.islr", *job = NULL;
//         bool json = false;
//         const struct option_row options[] = {
//             {'n', "ranks", "N", "worker ranks on this machine", OPTION_INT, &ranks, .min = 1, .max = 4096},
//             {0, "dir", "DIR", "where everything is kept", OPTION_STRING, &directory},
//             {0, "json", NULL, "one JSON document: {\"ranks\": N}", OPTION_FLAG, &json},
//             {0}};
//         const struct option_operand operands[] = {{"JOB.yaml", "the job", .value = &job}, {0}};
//         const struct usage usage = {"islrd run", "a job in the foreground", options, operands,
//                                     "islrd run deploy/jobs/tiny.yaml --out /tmp/run"};
//         int code;
//         if (!options_parse(&usage, argc, argv, &code))
//             return code;
//
// A variable's value before the call is the default, and --help shows it as such. Values point into argv.
#ifndef ISLR_BASE_OPTIONS_H
#define ISLR_BASE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/base/error.h"

enum option_kind {
    OPTION_FLAG = 1, // value: bool *, set to true; takes no argument
    OPTION_STRING,   // value: const char **
    OPTION_CHOICE,   // value: const char **; `argument` lists what is allowed: "auto|cpu|cuda"
    OPTION_INT,      // value: int64_t *, within min..max; 4k, 3M and the like are not understood
    OPTION_FLOAT,    // value: double *, finite, within min..max
    OPTION_LIST      // value: struct option_list *; the option may be given several times, and not empty
};

// Zero-initialise; option_list_free() at the end.
struct option_list {
    const char **items;
    size_t count;
};
void option_list_free(struct option_list *list);

// One option; an array of them ends with {0}.
struct option_row {
    char letter;          // of the short form -n, or 0
    const char *name;     // of the long form, without dashes; NULL where there is only a letter
    const char *argument; // name of its value in the help; NULL for flags
    const char *help;     // half a sentence
    enum option_kind kind;
    void *value;
    double min, max;           // OPTION_INT, OPTION_FLOAT: both 0: any
    const char *default_shown; // in the help instead of the value; "" shows none
    bool path; // the name of a file or directory: not empty, in whatever bytes; other texts must be UTF-8
};

// One positional argument; an array of them ends with {0}. Exactly one of value and list is set; only the last may
// have a list, which takes all that follow.
struct option_operand {
    const char *argument; // "JOB.yaml"
    const char *help;
    bool optional; // a list: may be empty
    const char **value;
    struct option_list *list;
    bool path; // as an option's
};

struct usage {
    const char *program; // "islrd run"
    const char *summary; // half a sentence
    const struct option_row *options;
    const struct option_operand *operands; // NULL: none
    const char *example;                   // one command a line
    const char *notes;                     // further paragraphs for --help, or NULL
};

// What the main functions call. true: go on. false: --help has been printed to stdout (*code is 0), or what is wrong
// to stderr (*code is ERR_INVALID); return *code. argv[0] is the command's own name and is not looked at. Understood:
// --name VALUE, --name=VALUE, -n VALUE, -nVALUE, flags together (-fj), -h, --help, and -- before operands that begin
// with a dash. A value may begin with one dash ("-5"), and with two only after "=".
bool options_parse(const struct usage *usage, int argc, char **argv, int *code);

// The same without printing. 1: help was asked for.
int options_read(const struct usage *usage, int argc, char **argv, struct error *e);
void options_print_help(const struct usage *usage, FILE *stream);

#endif

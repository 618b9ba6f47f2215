// Command lines by table: see options.h.
#include "core/base/options.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/nearest.h"
#include "core/base/utf8.h"

enum { NAMES_MAX = 128, HELP_COLUMN = 30, HELP_WIDTH = 110 };

void option_list_free(struct option_list *list)
{
    free(list->items);
    list->items = NULL;
    list->count = 0;
}

static void list_add(struct option_list *list, const char *item)
{
    list->items = xrealloc(list->items, list->count + 1, sizeof *list->items);
    list->items[list->count++] = item;
}

static bool is_end(const struct option_row *o)
{
    return !o->name && !o->letter;
}

// "--dir", or "-n" where there is no long form.
static const char *shown(const struct option_row *o, char text[80])
{
    if (o->name)
        snprintf(text, 80, "--%s", o->name);
    else
        snprintf(text, 80, "-%c", o->letter);
    return text;
}

static int fault_range(const struct option_row *o, const char *text, const char *what, struct error *e)
{
    char name[80];
    if (o->min == 0 && o->max == 0)
        return error_set(e, ERR_INVALID, "%s: '%s' is not %s", shown(o, name), text, what);
    if (isinf(o->max))
        return error_set(e, ERR_INVALID, "%s: '%s' is not %s from %.15g on", shown(o, name), text, what, o->min);
    return error_set(e, ERR_INVALID, "%s: '%s' is not %s from %.15g to %.15g", shown(o, name), text, what, o->min,
                     o->max);
}

// What is no text could be neither sent to a server nor kept by one.
static int check_text(const char *name, const char *text, struct error *e)
{
    if (utf8_valid(text, strlen(text)))
        return 0;
    char *shown_text = xstrdup(text);
    utf8_clean(shown_text);
    error_set(e, ERR_INVALID, "%s: '%s' is not UTF-8 text", name, shown_text);
    free(shown_text);
    return -1;
}

static bool in_range(const struct option_row *o, double v)
{
    return (o->min == 0 && o->max == 0) || (v >= o->min && v <= o->max);
}

static int store_int(const struct option_row *o, const char *text, struct error *e)
{
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    bool digits = (*text >= '0' && *text <= '9') || *text == '-' || *text == '+';
    if (!digits || *end || end == text || errno || !in_range(o, (double)v))
        return fault_range(o, text, "a whole number", e);
    *(int64_t *)o->value = v;
    return 0;
}

static int store_float(const struct option_row *o, const char *text, struct error *e)
{
    char *end;
    double v = strtod(text, &end);
    if (!*text || strspn(text, "0123456789+-.eE") != strlen(text) || *end || !isfinite(v) || !in_range(o, v))
        return fault_range(o, text, "a number", e);
    *(double *)o->value = v;
    return 0;
}

static int store_choice(const struct option_row *o, const char *text, struct error *e)
{
    size_t length = strlen(text);
    for (const char *p = o->argument; p;) {
        size_t n = strcspn(p, "|");
        if (n == length && !memcmp(p, text, n)) {
            *(const char **)o->value = text;
            return 0;
        }
        p = p[n] ? p + n + 1 : NULL;
    }
    char name[80];
    return error_set(e, ERR_INVALID, "%s: '%s' is not one of %s", shown(o, name), text, o->argument);
}

// A name that a script has left empty would be "/name" or the current directory for one, and nothing for another.
static int refuse_empty(const struct option_row *o, const char *text, struct error *e)
{
    char name[80];
    return *text ? 0 : error_set(e, ERR_INVALID, "%s: the value is empty: %s is expected", shown(o, name), o->argument);
}

static int store(const struct option_row *o, const char *text, struct error *e)
{
    char name[80];
    if (o->kind != OPTION_FLAG && !o->path && check_text(shown(o, name), text, e))
        return -1;
    if ((o->path || o->kind == OPTION_LIST) && refuse_empty(o, text, e))
        return -1;
    switch (o->kind) {
    case OPTION_FLAG:
        *(bool *)o->value = true;
        return 0;
    case OPTION_STRING:
        *(const char **)o->value = text;
        return 0;
    case OPTION_CHOICE:
        return store_choice(o, text, e);
    case OPTION_INT:
        return store_int(o, text, e);
    case OPTION_FLOAT:
        return store_float(o, text, e);
    case OPTION_LIST:
        list_add(o->value, text);
        return 0;
    }
    return error_set(e, ERR_FAILED, "the option table has a row of unknown kind %d", o->kind);
}

static int fault_unknown(const struct usage *u, const char *given, size_t length, struct error *e)
{
    const char *names[NAMES_MAX];
    size_t count = 0;
    for (const struct option_row *o = u->options; o && !is_end(o) && count < NAMES_MAX - 1; o++)
        if (o->name)
            names[count++] = o->name;
    names[count++] = "help";
    char *name = xprintf("%.*s", (int)length, given);
    const char *near = nearest_name(name, names, count);
    if (near)
        error_set(e, ERR_INVALID, "there is no option '--%s'; did you mean '--%s'?", name, near);
    else
        error_set(e, ERR_INVALID, "there is no option '--%s'", name);
    free(name);
    return -1;
}

// The state of one pass over the arguments.
struct reader {
    const struct usage *usage;
    int argc, at; // at: the argument being read
    char **argv;
    size_t operand; // the next positional argument
    bool help;
};

// The value of option `o`: what stands behind "=" or the letter (NULL: nothing), else the next argument.
static int take_value(struct reader *r, const struct option_row *o, const char *attached, struct error *e)
{
    char name[80];
    if (attached)
        return store(o, attached, e);
    if (r->at + 1 >= r->argc)
        return error_set(e, ERR_INVALID, "%s needs a value: %s", shown(o, name), o->argument);
    const char *next = r->argv[r->at + 1];
    if (!strncmp(next, "--", 2))
        return error_set(e, ERR_INVALID, "%s needs a value, %s, but '%s' follows (a value that begins so: %s%s...)",
                         shown(o, name), o->argument, next, name, o->name ? "=--" : "--");
    r->at++;
    return store(o, next, e);
}

static int read_long(struct reader *r, const char *text, struct error *e)
{
    size_t length = strcspn(text, "=");
    const char *attached = text[length] ? text + length + 1 : NULL;
    if (length == 4 && !memcmp(text, "help", 4) && !attached) {
        r->help = true;
        return 0;
    }
    for (const struct option_row *o = r->usage->options; o && !is_end(o); o++) {
        if (!o->name || strlen(o->name) != length || memcmp(o->name, text, length))
            continue;
        if (o->kind != OPTION_FLAG)
            return take_value(r, o, attached, e);
        if (attached)
            return error_set(e, ERR_INVALID, "--%s takes no value, but '%s' was given", o->name, attached);
        return store(o, NULL, e);
    }
    return fault_unknown(r->usage, text, length, e);
}

static int read_letters(struct reader *r, const char *text, struct error *e)
{
    for (; *text; text++) {
        if (*text == 'h') {
            r->help = true;
            continue;
        }
        const struct option_row *o = r->usage->options;
        while (o && !is_end(o) && o->letter != *text)
            o++;
        if (!o || is_end(o))
            return error_set(e, ERR_INVALID, "there is no option '-%c'", *text);
        if (o->kind != OPTION_FLAG)
            return take_value(r, o, text[1] ? text + 1 : NULL, e);
        if (store(o, NULL, e))
            return -1;
    }
    return 0;
}

static int read_operand(struct reader *r, const char *text, struct error *e)
{
    const struct option_operand *o = r->usage->operands ? &r->usage->operands[r->operand] : NULL;
    if (!o || !o->argument)
        return error_set(e, ERR_INVALID, "'%s' is one argument too many", text);
    if (!o->path && check_text(o->argument, text, e))
        return -1;
    if (o->list) {
        list_add(o->list, text);
        return 0;
    }
    *o->value = text;
    r->operand++;
    return 0;
}

static int check_operands(const struct reader *r, struct error *e)
{
    const struct option_operand *o = r->usage->operands ? &r->usage->operands[r->operand] : NULL;
    if (!o || !o->argument || o->optional || (o->list && o->list->count))
        return 0;
    return error_set(e, ERR_INVALID, "%s is missing: %s", o->argument, o->help);
}

int options_read(const struct usage *usage, int argc, char **argv, struct error *e)
{
    struct reader r = {.usage = usage, .argc = argc, .argv = argv, .at = 1};
    bool only_operands = false;
    for (; r.at < argc; r.at++) {
        const char *text = argv[r.at];
        int rc;
        if (only_operands || text[0] != '-' || !text[1])
            rc = read_operand(&r, text, e);
        else if (text[1] != '-')
            rc = read_letters(&r, text + 1, e);
        else if (text[2])
            rc = read_long(&r, text + 2, e);
        else
            rc = 0, only_operands = true;
        if (rc)
            return -1;
        if (r.help)
            return 1;
    }
    return check_operands(&r, e);
}

bool options_parse(const struct usage *usage, int argc, char **argv, int *code)
{
    struct error e;
    int rc = options_read(usage, argc, argv, &e);
    *code = 0;
    if (rc == 0)
        return true;
    if (rc > 0) {
        options_print_help(usage, stdout);
        return false;
    }
    fprintf(stderr, "%s: %s (%s --help shows what there is)\n", usage->program, e.text, usage->program);
    *code = (int)e.code;
    return false;
}

// " (default X)", from the variable's own value; nothing for what has none.
static void add_default(struct strbuf *b, const struct option_row *o)
{
    const char *text = NULL;
    char number[40];
    if (o->default_shown)
        text = o->default_shown;
    else if (o->kind == OPTION_STRING || o->kind == OPTION_CHOICE)
        text = *(const char *const *)o->value;
    else if (o->kind == OPTION_INT)
        snprintf(number, sizeof number, "%lld", (long long)*(const int64_t *)o->value), text = number;
    else if (o->kind == OPTION_FLOAT)
        snprintf(number, sizeof number, "%.10g", *(const double *)o->value), text = number;
    if (text && *text)
        strbuf_printf(b, " (default %s)", text);
}

// The words of a line from column `left` to HELP_WIDTH, and a newline. Returns where the line ends.
static const char *print_words(FILE *f, int left, const char *text)
{
    int column = left;
    while (*text && *text != '\n') {
        int n = (int)strcspn(text, " \n");
        bool first = column == left;
        if (!first && column + 1 + n > HELP_WIDTH) {
            fprintf(f, "\n%*s", left, "");
            column = left;
            first = true;
        }
        column += fprintf(f, "%s%.*s", first ? "" : " ", n, text);
        text += n;
        text += strspn(text, " ");
    }
    fputc('\n', f);
    return text;
}

static void print_right(FILE *f, const char *text)
{
    print_words(f, HELP_COLUMN, text);
}

static void print_paragraphs(FILE *f, const char *text)
{
    while (*text) {
        text = print_words(f, 0, text);
        text += *text == '\n';
    }
}

static void print_left(FILE *f, const char *left)
{
    int n = fprintf(f, "  %s", left);
    if (n >= HELP_COLUMN)
        fprintf(f, "\n%*s", HELP_COLUMN, "");
    else
        fprintf(f, "%*s", HELP_COLUMN - n, "");
}

static void print_option(const struct option_row *o, FILE *f)
{
    struct strbuf left = {0}, right = {0};
    if (o->letter)
        strbuf_printf(&left, "-%c", o->letter);
    if (o->name)
        strbuf_printf(&left, "%s--%s", o->letter ? ", " : "", o->name);
    if (o->argument)
        strbuf_printf(&left, " %s", o->argument);
    print_left(f, left.text);
    strbuf_printf(&right, "%s", o->help);
    add_default(&right, o);
    if (o->kind == OPTION_LIST)
        strbuf_printf(&right, " (may be given several times)");
    print_right(f, right.text);
    free(left.text);
    free(right.text);
}

// Every line of `text`, indented.
static void print_indented(const char *text, FILE *f)
{
    while (*text) {
        size_t n = strcspn(text, "\n");
        fprintf(f, "  %.*s\n", (int)n, text);
        text += n + (text[n] == '\n');
    }
}

void options_print_help(const struct usage *u, FILE *f)
{
    fprintf(f, "%s: %s\n\nusage: %s [OPTION..]", u->program, u->summary, u->program);
    for (const struct option_operand *o = u->operands; o && o->argument; o++)
        fprintf(f, o->optional ? " [%s%s]" : " %s%s", o->argument, o->list ? ".." : "");
    fputs("\n\n", f);
    for (const struct option_operand *o = u->operands; o && o->argument; o++) {
        print_left(f, o->argument);
        print_right(f, o->help);
    }
    for (const struct option_row *o = u->options; o && !is_end(o); o++)
        print_option(o, f);
    print_left(f, "-h, --help");
    fputs("this text\n", f);
    if (u->notes) {
        fputc('\n', f);
        print_paragraphs(f, u->notes);
    }
    fputs("\nexample:\n", f);
    print_indented(u->example, f);
}

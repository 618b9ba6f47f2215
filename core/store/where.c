// Conditions on runs: see where.h. A recursive descent over the text, nodes into one array.
#include "core/store/where.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/nearest.h"
#include "core/store/state.h"

const struct where_field where_fields[] = {
    {"run", "id", WHERE_NUMBER},
    {"name", "name", WHERE_TEXT},
    {"user", "user", WHERE_TEXT},
    {"kind", "kind", WHERE_TEXT},
    {"state", "state", WHERE_STATE},
    {"reason", "reason", WHERE_TEXT},
    {"priority", "priority", WHERE_NUMBER},
    {"attempt", "attempts", WHERE_NUMBER},
    {"ranks", "ranks", WHERE_NUMBER},
    {"step", "step", WHERE_NUMBER},
    {"steps", "steps", WHERE_NUMBER},
    {"parent", "parent_id", WHERE_NUMBER},
    {"submitted_ms", "submitted_ms", WHERE_NUMBER},
    {"started_ms", "started_ms", WHERE_NUMBER},
    {"ended_ms", "ended_ms", WHERE_NUMBER},
    {0},
};

enum { FIELDS = sizeof where_fields / sizeof *where_fields };

static const struct {
    const char *text, *sql;
    enum where_operator op;
} operators[] = {{"<=", "<=", WHERE_LE}, {">=", ">=", WHERE_GE}, {"!=", "<>", WHERE_NE}, {"==", "=", WHERE_EQ},
                 {"=", "=", WHERE_EQ},   {"<", "<", WHERE_LT},   {">", ">", WHERE_GT},   {"~", "GLOB", WHERE_LIKE}};

struct parser {
    const char *text, *at;
    int (*is_metric)(void *context, const char *name);
    void *context;
    struct where *out;
    int depth;
    struct error *e;
};

const struct where_field *where_field_find(const char *name)
{
    for (const struct where_field *f = where_fields; f->name; f++)
        if (!strcmp(f->name, name))
            return f;
    return NULL;
}

const char *where_operator_sql(enum where_operator op)
{
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
        if (operators[i].op == op)
            return operators[i].sql;
    return "=";
}

// Points at the place by its number and the text around it.
static int fault(const struct parser *p, const char *what)
{
    size_t at = (size_t)(p->at - p->text), from = at > 30 ? at - 30 : 0;
    return error_set(p->e, ERR_INVALID, "in the condition, character %zu (%s%.60s%s): %s", at + 1, from ? ".." : "",
                     p->text + from, strlen(p->text + from) > 60 ? ".." : "", what);
}

static int new_node(struct parser *p, struct where_node node)
{
    struct where *w = p->out;
    if (w->count == WHERE_NODES_MAX) {
        free(node.name);
        free(node.text);
        return fault(p, "the condition has too many parts");
    }
    if (!(w->count & (w->count - 1)))
        w->nodes = xrealloc(w->nodes, w->count ? 2 * (size_t)w->count : 1, sizeof *w->nodes);
    w->nodes[w->count] = node;
    return w->count++;
}

// ---- words ----------------------------------------------------------------------------------------------------------

static void skip_blanks(struct parser *p)
{
    while (isspace((unsigned char)*p->at))
        p->at++;
}

static int is_word(char c)
{
    return isalnum((unsigned char)c) || (unsigned char)c >= 0x80 || (c && strchr("_/.-+*?[]%@:", c));
}

// A keyword, which ends where the word ends.
static int take_keyword(struct parser *p, const char *word)
{
    size_t n = strlen(word);
    skip_blanks(p);
    if (strncmp(p->at, word, n) || is_word(p->at[n]))
        return 0;
    p->at += n;
    return 1;
}

// A bare or quoted word, malloc'ed; NULL: there is none.
static char *take_word(struct parser *p)
{
    skip_blanks(p);
    const char *start = p->at;
    if (*start == '"') {
        const char *end = strchr(start + 1, '"');
        if (!end)
            return NULL;
        p->at = end + 1;
        return xprintf("%.*s", (int)(end - start - 1), start + 1);
    }
    while (is_word(*p->at))
        p->at++;
    return p->at == start ? NULL : xprintf("%.*s", (int)(p->at - start), start);
}

static int take_operator(struct parser *p, enum where_operator *op)
{
    skip_blanks(p);
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        size_t n = strlen(operators[i].text);
        if (!strncmp(p->at, operators[i].text, n)) {
            p->at += n;
            *op = operators[i].op;
            return 0;
        }
    }
    return fault(p, "expected one of = != < <= > >= ~");
}

// ---- comparisons ----------------------------------------------------------------------------------------------------

static int unknown_name(struct parser *p, const char *name)
{
    const char *names[FIELDS];
    size_t n = 0;
    for (const struct where_field *f = where_fields; f->name; f++)
        names[n++] = f->name;
    const char *near = nearest_name(name, names, n);
    char *text = near ? xprintf("no run has a field or metric '%s'; did you mean '%s'?", name, near)
                      : xprintf("no run has a field or metric '%s'", name);
    int rc = fault(p, text);
    free(text);
    return rc;
}

static int check_operator(struct parser *p, const struct where_node *n, enum where_type type)
{
    if (type == WHERE_STATE && n->op != WHERE_EQ && n->op != WHERE_NE)
        return fault(p, "a state can only be compared with = and !=");
    if (type == WHERE_TEXT && n->op != WHERE_EQ && n->op != WHERE_NE && n->op != WHERE_LIKE)
        return fault(p, "a text can only be compared with =, != and ~");
    if (type == WHERE_NUMBER && n->op == WHERE_LIKE)
        return fault(p, "~ compares texts, this is a number");
    return 0;
}

// Puts a comparison's right side, which it takes over, into the node.
static int set_value(struct parser *p, struct where_node *n, char *value)
{
    enum where_type type = n->field ? n->field->type : WHERE_NUMBER;
    n->text = value;
    if (check_operator(p, n, type))
        return -1;
    if (type == WHERE_STATE) {
        Islr__RunState state;
        if (run_state_from_name(value, &state))
            return fault(p,
                         "expected a state: queued, held, starting, running, stopping, succeeded, failed, cancelled");
        n->number = state;
    } else if (type == WHERE_NUMBER) {
        char *end;
        n->number = strtod(value, &end);
        if (!*value || *end || !isfinite(n->number))
            return fault(p, "expected a number");
    }
    return 0;
}

static int parse_compare(struct parser *p)
{
    struct where_node node = {.kind = WHERE_COMPARE, .left = -1, .right = -1};
    const char *start = p->at;
    node.name = take_word(p);
    if (!node.name)
        return fault(p, "expected the name of a field or metric");
    node.field = where_field_find(node.name);
    char *value = NULL;
    int rc = -1;
    if (!node.field && !strchr(node.name, '/') && !(p->is_metric && p->is_metric(p->context, node.name))) {
        p->at = start;
        unknown_name(p, node.name);
    } else if (!take_operator(p, &node.op)) {
        value = take_word(p);
        rc = value ? set_value(p, &node, value) : fault(p, "expected a value");
    }
    if (rc) {
        free(node.name);
        free(node.text);
        return -1;
    }
    return new_node(p, node);
}

// ---- expressions ----------------------------------------------------------------------------------------------------

static int parse_or(struct parser *p);

static int parse_not(struct parser *p)
{
    int rc;
    if (p->depth == WHERE_DEPTH_MAX)
        return fault(p, "the condition is nested too deeply");
    p->depth++;
    skip_blanks(p);
    if (*p->at == '(') {
        p->at++;
        rc = parse_or(p);
        skip_blanks(p);
        if (rc >= 0 && *p->at++ != ')') {
            p->at--;
            rc = fault(p, "expected )");
        }
    } else if (take_keyword(p, "not")) {
        rc = parse_not(p);
        if (rc >= 0)
            rc = new_node(p, (struct where_node){.kind = WHERE_NOT, .left = rc, .right = -1});
    } else {
        rc = parse_compare(p);
    }
    p->depth--;
    return rc;
}

static int parse_and(struct parser *p)
{
    int left = parse_not(p);
    while (left >= 0 && take_keyword(p, "and")) {
        int right = parse_not(p);
        if (right < 0)
            return -1;
        left = new_node(p, (struct where_node){.kind = WHERE_AND, .left = left, .right = right});
    }
    return left;
}

static int parse_or(struct parser *p)
{
    int left = parse_and(p);
    while (left >= 0 && take_keyword(p, "or")) {
        int right = parse_and(p);
        if (right < 0)
            return -1;
        left = new_node(p, (struct where_node){.kind = WHERE_OR, .left = left, .right = right});
    }
    return left;
}

int where_parse(const char *text, int (*is_metric)(void *context, const char *name), void *context, struct where *out,
                struct error *e)
{
    struct parser p = {.text = text, .at = text, .is_metric = is_metric, .context = context, .out = out, .e = e};
    memset(out, 0, sizeof *out);
    if (strlen(text) > WHERE_LENGTH_MAX)
        return error_set(e, ERR_INVALID, "the condition is longer than %d characters", WHERE_LENGTH_MAX);
    out->root = parse_or(&p);
    skip_blanks(&p);
    if (out->root >= 0 && *p.at)
        out->root = fault(&p, "expected 'and', 'or' or the end");
    if (out->root >= 0)
        return 0;
    where_free(out);
    return -1;
}

void where_free(struct where *w)
{
    for (int i = 0; i < w->count; i++) {
        free(w->nodes[i].name);
        free(w->nodes[i].text);
    }
    free(w->nodes);
    memset(w, 0, sizeof *w);
}

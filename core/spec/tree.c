// YAML and JSON through libfyaml's events: see tree.h.
#include "core/spec/tree.h"
#include "core/spec/spec.h"

#include <stdlib.h>
#include <string.h>

#include <libfyaml.h>

#include "core/base/memory.h"
#include "core/base/utf8.h"

struct reader {
    struct fy_parser *parser;
    const char *source;
    bool json, argument;
    int depth;
    size_t nodes;
    struct faults *faults;
};

static void node_clear(struct node *n)
{
    for (size_t i = 0; i < n->count; i++)
        node_clear(&n->children[i]);
    free(n->children);
    free(n->text);
    free(n->key);
    *n = (struct node){0};
}

const char *spec_library(void)
{
    return fy_library_version();
}

void tree_free(struct node *root)
{
    if (root)
        node_clear(root);
    free(root);
}

const struct node *tree_find(const struct node *map, const char *key)
{
    for (size_t i = 0; map && map->kind == NODE_MAP && i < map->count; i++)
        if (!strcmp(map->children[i].key, key))
            return &map->children[i];
    return NULL;
}

// Line and column from 1; none for arguments.
static void place(const struct reader *r, const struct fy_mark *mark, int *line, int *column)
{
    *line = mark && !r->argument ? mark->line + 1 : 0;
    *column = mark && !r->argument ? mark->column + 1 : 0;
}

static int refuse(struct reader *r, const struct fy_mark *mark, const char *what)
{
    int line, column;
    place(r, mark, &line, &column);
    faults_add(r->faults, r->source, line, column, "", NULL, NULL, "%s", what);
    return -1;
}

// The parser stopped: what it says.
static int fault_syntax(struct reader *r)
{
    struct fy_diag *diag = fy_parser_get_diag(r->parser);
    void *at = NULL;
    const struct fy_diag_error *found = fy_diag_errors_iterate(diag, &at);
    // libfyaml counts lines and columns of its messages from 1, those of marks from 0.
    int line = found && !r->argument ? found->line : 0, column = found && !r->argument ? found->column : 0;
    faults_add(r->faults, r->source, line, column, "", NULL, NULL, "this is not %s%s%s", r->json ? "JSON" : "YAML",
               found ? ": " : "", found ? found->msg : "");
    fy_diag_unref(diag);
    return -1;
}

// Refuses anchors and tags.
static int check_plain_node(struct reader *r, struct fy_token *anchor, struct fy_token *tag)
{
    if (anchor)
        return refuse(r, fy_token_start_mark(anchor), "anchors (&name) are not allowed in a job");
    if (tag)
        return refuse(r, fy_token_start_mark(tag), "tags (!name) are not allowed in a job");
    return 0;
}

static int read_scalar(struct reader *r, const struct fy_event *event, struct node *out)
{
    size_t size;
    const char *text = fy_token_get_text(event->scalar.value, &size);
    const struct fy_mark *mark = fy_event_start_mark((struct fy_event *)event);
    place(r, mark, &out->line, &out->column);
    if (check_plain_node(r, event->scalar.anchor, event->scalar.tag))
        return -1;
    if (!text)
        text = "", size = 0;
    if (memchr(text, 0, size))
        return refuse(r, mark, "a text may not hold a NUL character");
    out->quoted = fy_token_scalar_style(event->scalar.value) != FYSS_PLAIN;
    out->json = r->json;
    out->text = xmalloc(size + 1);
    memcpy(out->text, text, size);
    out->text[size] = 0;
    bool nothing = !out->quoted && (size == 0 || !strcmp(out->text, "~") || !strcmp(out->text, "null"));
    out->kind = nothing ? NODE_NULL : NODE_SCALAR;
    return 0;
}

static int read_node(struct reader *r, struct fy_event *event, struct node *out);

// The next event; NULL with a fault where the text ends or is wrong.
static struct fy_event *next_event(struct reader *r)
{
    struct fy_event *event = fy_parser_parse(r->parser);
    if (!event)
        fault_syntax(r);
    return event;
}

static struct node *add_child(struct node *parent)
{
    if ((parent->count & (parent->count - 1)) == 0) // a power of two, or none: full
        parent->children = xrealloc(parent->children, parent->count ? 2 * parent->count : 1, sizeof *parent->children);
    struct node *child = &parent->children[parent->count++];
    *child = (struct node){0};
    return child;
}

static void check_duplicate(struct reader *r, const struct node *map)
{
    const struct node *last = &map->children[map->count - 1];
    for (size_t i = 0; i + 1 < map->count; i++) {
        const struct node *c = &map->children[i];
        if (strcmp(c->key, last->key))
            continue;
        if (c->key_line)
            faults_add(r->faults, r->source, last->key_line, last->key_column, last->key, NULL, NULL,
                       "'%s' is given twice (first on line %d)", last->key, c->key_line);
        else
            faults_add(r->faults, r->source, 0, 0, last->key, NULL, NULL, "'%s' is given twice", last->key);
        return;
    }
}

// A key: any scalar, taken as text.
static int read_key(struct reader *r, struct fy_event *event, struct node *entry)
{
    if (event->type != FYET_SCALAR)
        return refuse(r, fy_event_start_mark(event), "the name of a field must be a plain text");
    struct node key = {0};
    int rc = read_scalar(r, event, &key);
    entry->key = key.text;
    entry->key_line = key.line;
    entry->key_column = key.column;
    return rc;
}

// Everything up to the end of a list or map whose start event was read.
static int read_children(struct reader *r, enum fy_event_type end, struct node *out)
{
    for (;;) {
        struct fy_event *event = next_event(r);
        if (!event)
            return -1;
        if (event->type == end) {
            fy_parser_event_free(r->parser, event);
            return 0;
        }
        struct node *child = add_child(out);
        int rc = 0;
        if (out->kind == NODE_MAP) {
            rc = read_key(r, event, child);
            if (!rc)
                check_duplicate(r, out);
            fy_parser_event_free(r->parser, event);
            event = rc ? NULL : next_event(r);
        }
        if (!event)
            return -1;
        rc = read_node(r, event, child);
        fy_parser_event_free(r->parser, event);
        if (!child->line) { // nothing stands there: the place is the key's
            child->line = child->key_line;
            child->column = child->key_column;
        }
        if (rc)
            return -1;
    }
}

static int read_collection(struct reader *r, struct fy_event *event, struct node *out)
{
    bool map = event->type == FYET_MAPPING_START;
    const struct fy_mark *mark = fy_event_start_mark(event);
    place(r, mark, &out->line, &out->column);
    if (check_plain_node(r, map ? event->mapping_start.anchor : event->sequence_start.anchor,
                         map ? event->mapping_start.tag : event->sequence_start.tag))
        return -1;
    if (r->depth == TREE_DEPTH_MAX)
        return refuse(r, mark, "nested too deeply for a job");
    out->kind = map ? NODE_MAP : NODE_LIST;
    r->depth++;
    int rc = read_children(r, map ? FYET_MAPPING_END : FYET_SEQUENCE_END, out);
    r->depth--;
    return rc;
}

static int read_node(struct reader *r, struct fy_event *event, struct node *out)
{
    if (++r->nodes > TREE_NODES_MAX)
        return refuse(r, fy_event_start_mark(event), "too many values for a job");
    switch (event->type) {
    case FYET_SCALAR:
        return read_scalar(r, event, out);
    case FYET_SEQUENCE_START:
    case FYET_MAPPING_START:
        return read_collection(r, event, out);
    case FYET_ALIAS:
        return refuse(r, fy_event_start_mark(event), "aliases (*name) are not allowed in a job");
    default:
        return refuse(r, fy_event_start_mark(event), "a value is missing here");
    }
}

// The stream: one document, or none.
static int read_stream(struct reader *r, struct node *root)
{
    bool seen = false;
    for (;;) {
        struct fy_event *event = next_event(r);
        if (!event)
            return -1;
        enum fy_event_type type = event->type;
        int rc = 0;
        if (type == FYET_DOCUMENT_START && seen)
            rc = refuse(r, fy_event_start_mark(event), "a second document begins here: a job is one document");
        else if (type != FYET_STREAM_START && type != FYET_STREAM_END && type != FYET_DOCUMENT_START &&
                 type != FYET_DOCUMENT_END)
            rc = read_node(r, event, root);
        seen = seen || type == FYET_DOCUMENT_START;
        fy_parser_event_free(r->parser, event);
        if (rc || type == FYET_STREAM_END)
            return rc;
    }
}

static struct node *parse(struct reader *r, const char *text, size_t size)
{
    const struct fy_diag_cfg diag_cfg = {.level = FYET_ERROR, .module_mask = ~0u};
    struct fy_diag *diag = fy_diag_create(&diag_cfg);
    if (diag)
        fy_diag_set_collect_errors(diag, true);
    const struct fy_parse_cfg cfg = {.flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_DISABLE_MMAP_OPT |
                                              (r->json ? FYPCF_JSON_FORCE : FYPCF_JSON_NONE),
                                     .diag = diag};
    r->parser = diag ? fy_parser_create(&cfg) : NULL;
    struct node *root = xcalloc(1, sizeof *root);
    int rc = -1;
    if (!r->parser || fy_parser_set_string(r->parser, text, size))
        faults_add(r->faults, r->source, 0, 0, "", NULL, NULL, "the YAML reader does not start");
    else
        rc = read_stream(r, root);
    if (diag)
        fy_diag_reset_error(diag); // frees the collected errors: fy_diag_unref() alone leaks them
    if (r->parser)
        fy_parser_destroy(r->parser);
    if (diag)
        fy_diag_unref(diag);
    if (!rc)
        return root;
    tree_free(root);
    return NULL;
}

// libfyaml ends silently at what is not UTF-8, and a NUL ends our texts: both are looked for first.
static int check_text(const char *source, const char *text, size_t size, struct faults *faults)
{
    int line = 1;
    for (size_t i = 0, n; i < size; i += n) {
        n = utf8_length(text + i, size - i);
        if (n == 0 || text[i] == 0) {
            faults_add(faults, source, line, 0, "", NULL, NULL,
                       n ? "a NUL character stands here" : "this is not UTF-8 text (byte 0x%02X)",
                       (unsigned char)text[i]);
            return -1;
        }
        line += text[i] == '\n';
    }
    return 0;
}

struct node *tree_parse(const char *source, const char *text, size_t size, bool json, struct faults *faults)
{
    struct reader r = {.source = source, .json = json, .faults = faults};
    return check_text(source, text, size, faults) ? NULL : parse(&r, text, size);
}

struct node *tree_argument(const char *source, const char *value, struct faults *faults)
{
    if (check_text(source, value, strlen(value), faults))
        return NULL;
    if (*value && strchr("[{\"'", *value)) {
        struct reader r = {.source = source, .argument = true, .faults = faults};
        return parse(&r, value, strlen(value));
    }
    struct node *n = xcalloc(1, sizeof *n);
    n->kind = NODE_SCALAR;
    n->quoted = !*value;
    n->text = xstrdup(value);
    return n;
}

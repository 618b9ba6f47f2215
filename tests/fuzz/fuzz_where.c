// libFuzzer: conditions on runs (`list --where`). What is accepted is a tree whose every part makes sense to who turns it
// into SQL; what is refused says why.
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/store/where.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEMAND(x) ((x) ? (void)0 : abort())

static int is_metric(void *context, const char *name)
{
    (void)context;
    return *name == 'l'; // lr, loss
}

static void check_compare(const struct where_node *n)
{
    enum where_type type = n->field ? n->field->type : WHERE_NUMBER;
    DEMAND(n->name && n->text && *where_operator_sql(n->op));
    if (type == WHERE_TEXT)
        DEMAND(n->op == WHERE_EQ || n->op == WHERE_NE || n->op == WHERE_LIKE);
    else
        DEMAND(n->op != WHERE_LIKE && isfinite(n->number));
}

// Every node once, and no deeper than was allowed.
static int check_tree(const struct where *w, int at, int depth)
{
    DEMAND(at >= 0 && at < w->count && depth <= WHERE_NODES_MAX);
    const struct where_node *n = &w->nodes[at];
    switch (n->kind) {
    case WHERE_AND:
    case WHERE_OR:
        return 1 + check_tree(w, n->left, depth + 1) + check_tree(w, n->right, depth + 1);
    case WHERE_NOT:
        return 1 + check_tree(w, n->left, depth + 1);
    case WHERE_COMPARE:
        check_compare(n);
        return 1;
    }
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = xprintf("%.*s", (int)size, (const char *)data);
    struct where w;
    struct error e = {ERR_NONE, ""};
    if (where_parse(text, is_metric, NULL, &w, &e) == 0) {
        DEMAND(w.count <= WHERE_NODES_MAX && check_tree(&w, w.root, 0) == w.count);
        where_free(&w);
    } else {
        DEMAND(e.code == ERR_INVALID && *e.text);
    }
    free(text);
    return 0;
}

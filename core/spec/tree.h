// A YAML or JSON text as a tree of its own: small, bounded, with the place of everything. Refuses what a job does not
// need and an attacker likes: anchors and aliases, tags, several documents, deep nesting.
#ifndef ISLR_SPEC_TREE_H
#define ISLR_SPEC_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/spec/fault.h"

enum { TREE_DEPTH_MAX = 16, TREE_NODES_MAX = 5000 };

enum node_kind { NODE_NULL, NODE_SCALAR, NODE_LIST, NODE_MAP };

struct node {
    enum node_kind kind;
    bool quoted;      // a scalar in quotes or a block: text, whatever it looks like
    bool json;        // from JSON: only what is quoted is text
    char *text;       // of a scalar, NUL-terminated, without NULs inside
    char *key;        // of a map's entry, or NULL
    int line, column; // from 1; 0 for arguments, whose source says it all
    int key_line, key_column;
    struct node *children; // of lists and maps
    size_t count;
};

// Parses one document; an empty one is NODE_NULL. NULL: faults added (syntax errors end the reading at the first).
struct node *tree_parse(const char *source, const char *text, size_t size, bool json, struct faults *faults);

// The VALUE of an argument KEY=VALUE: a flow collection or a quoted string is parsed, anything else is one plain scalar
// to the letter (so paths may hold " #" and ": "). An empty one is the empty text.
struct node *tree_argument(const char *source, const char *value, struct faults *faults);

void tree_free(struct node *root);

// The entry of a map; NULL: not there, or no map.
const struct node *tree_find(const struct node *map, const char *key);

#endif

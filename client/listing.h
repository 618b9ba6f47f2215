// Lists that the server sends in several messages, printed when they have come whole: a table, or one document with an
// array of objects.
#ifndef ISLR_CLIENT_LISTING_H
#define ISLR_CLIENT_LISTING_H

#include "client/json.h"
#include "client/text.h"
#include "core/rpc/call.h"

struct listing {
    bool json; // which of the two, from the beginning
    struct json document;
    struct table table;
    // Adds what one message holds, to the table or the array. 0, or -1: it is no such message.
    int (*add)(struct listing *l, const Islr__Envelope *m, struct error *e);
    void (*more)(struct listing *l); // adds to the document behind the array, or prints below the table; NULL: nothing
    void *context;
};

// name: of the array.
void listing_begin(struct listing *l, const char *name, const struct table_column *columns, size_t count);
// Adds all that the server answers. 0, or -1.
int listing_ask(struct listing *l, struct caller *c, Islr__Envelope *request, struct error *e);
void listing_end(struct listing *l, bool whole); // prints it if it came whole, and frees what it holds
// listing_ask() and listing_end() for a command: the exit code; errors are printed.
int listing_print(struct listing *l, struct caller *c, Islr__Envelope *request);

#endif

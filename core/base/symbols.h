// Names of functions at addresses of this program, its static ones included: from the symbol table of the running file,
// or for shared libraries from what they export.
#ifndef ISLR_BASE_SYMBOLS_H
#define ISLR_BASE_SYMBOLS_H

#include <stddef.h>

struct symbols;

struct symbols *symbols_open(void); // never NULL; a stripped program has no names
void symbols_close(struct symbols *s);

// "prepare_row", or "" where nobody knows; and where it is: "islrd+0x4d21" (addr2line -e islrd 0x4d21).
void symbols_find(const struct symbols *s, const void *address, char name[128], char place[160]);

#endif

// A token as users keep it.
#ifndef ISLR_RPC_TOKEN_H
#define ISLR_RPC_TOKEN_H

#include "core/base/error.h"

// The one line of a file that only its owner can read; malloc'ed. "-": of standard input.
char *token_read(const char *path, struct error *e);

// ERR_DENIED where others can read a file that holds a secret. A missing file is fine.
int token_check_mode(const char *path, struct error *e);

#endif

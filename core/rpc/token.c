// A token as users keep it: see token.h.
#include "core/rpc/token.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/file.h"

enum { TOKEN_MAX = 1024 };

int token_check_mode(const char *path, struct error *e)
{
    struct stat st;
    if (!stat(path, &st) && S_ISREG(st.st_mode) && st.st_mode & (S_IRWXG | S_IRWXO))
        return error_set(e, ERR_DENIED, "%s holds a token and is open to others: chmod 600 it", path);
    return 0;
}

char *token_read(const char *path, struct error *e)
{
    char *text = NULL;
    size_t size;
    int input = !strcmp(path, "-");
    if ((!input && token_check_mode(path, e)) || file_read(input ? "/dev/stdin" : path, TOKEN_MAX, &text, &size, e))
        return NULL;
    text[strcspn(text, " \t\r\n")] = 0;
    if (*text)
        return text;
    free(text);
    error_set(e, ERR_INVALID, "there is no token in %s", input ? "standard input" : path);
    return NULL;
}

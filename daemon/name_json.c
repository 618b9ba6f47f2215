// Names of files in JSON: see name_json.h.
#include "daemon/name_json.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/utf8.h"

json_t *name_json(const char *name)
{
    struct strbuf b = {0};
    strbuf_add(&b, "", 0);
    for (size_t left = strlen(name), n; left; name += n ? n : 1, left -= n ? n : 1) {
        n = utf8_length(name, left);
        strbuf_add(&b, n ? name : "\xEF\xBF\xBD", n ? n : 3);
    }
    json_t *text = json_string(b.text);
    free(b.text);
    return text;
}

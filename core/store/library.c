// Versions of the store's libraries: see library.h.
#include "core/store/library.h"

#include <sqlite3.h>
#include <zstd.h>

const char *store_sqlite_version(void)
{
    return sqlite3_libversion();
}

const char *store_zstd_version(void)
{
    return ZSTD_versionString();
}

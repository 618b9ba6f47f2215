// The store's libraries: see library.h.
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

uint64_t store_sqlite_memory(void)
{
    return (uint64_t)sqlite3_memory_used();
}

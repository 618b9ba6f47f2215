// Which libraries the store is built on, and what SQLite has of this process's memory.
#ifndef ISLR_STORE_LIBRARY_H
#define ISLR_STORE_LIBRARY_H

#include <stdint.h>

const char *store_sqlite_version(void); // "3.40.1": of the library in use
const char *store_zstd_version(void);
uint64_t store_sqlite_memory(void); // bytes, of all connections

#endif

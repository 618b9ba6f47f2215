// Which libraries the store is built on.
#ifndef ISLR_STORE_LIBRARY_H
#define ISLR_STORE_LIBRARY_H

const char *store_sqlite_version(void); // "3.40.1": of the library in use
const char *store_zstd_version(void);

#endif

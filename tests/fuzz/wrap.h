// For targets whose subject opens a file: the linker sends its file_map_open() and parallel_for() here (-Wl,--wrap), so
// that a mapping is a block of exactly the file's size, where a byte too far is seen, and no thread is started.
#ifndef ISLR_TESTS_FUZZ_WRAP_H
#define ISLR_TESTS_FUZZ_WRAP_H

#include <stddef.h>
#include <stdint.h>

void wrap_file(const uint8_t *data, size_t size); // what the next file_map_open() gives; copied then

#endif

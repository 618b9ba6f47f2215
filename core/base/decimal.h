// Numbers as text for many of them: printf() takes longer for a double than all else that is done to a metric point.
#ifndef ISLR_BASE_DECIMAL_H
#define ISLR_BASE_DECIMAL_H

#include <stddef.h>

enum { DECIMAL_MAX = 32 }; // bytes of a text, its NUL included

// Writes what printf() makes of "%.*g" with 1 to 17 digits in the C locale; returns its length.
size_t decimal_put(char out[DECIMAL_MAX], double v, int digits);

#endif

// Runs test_vector.c where this processor has the instruction set ($ISLR_CPU_ISA); itself compiled for any.
#include <stdio.h>

#include "kernels/backend.h"
#include "tests/kernels/vector_tests.h"

int main(void)
{
    struct error e = {0};
    struct backend *b = backend_cpu_open(1, &e);
    if (!b) {
        fprintf(stderr, "skipped: %s\n", e.text);
        return e.code == ERR_FAILED ? 77 : 1;
    }
    b->op->close(b);
    return vector_tests();
}

// The host model's conversions of bf16 and fp16 against the toolkit's own: all 16-bit values, and floats of every
// exponent with mantissas at and around what rounds differently.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <initializer_list>

#include "tests/cudahost/half.h"

static int faults;

static void check_bits(const char *what, uint16_t from, float model, float toolkit)
{
    if (memcmp(&model, &toolkit, sizeof model) && !(std::isnan(model) && std::isnan(toolkit)) && faults++ < 10)
        printf("%s(%04x): %g in the model, %g in the toolkit\n", what, from, model, toolkit);
}

static void check_float(const char *what, float x, uint16_t model, uint16_t toolkit)
{
    if (model != toolkit && !std::isnan(x) && faults++ < 10)
        printf("%s(%a): %04x in the model, %04x in the toolkit\n", what, x, model, toolkit);
}

int main()
{
    const struct conversions &m = model_conversions, &t = toolkit_conversions;
    for (uint32_t bits = 0; bits < 65536; bits++) {
        uint16_t half = static_cast<uint16_t>(bits);
        check_bits("bf16_to_float", half, m.bf16_to_float(half), t.bf16_to_float(half));
        check_bits("fp16_to_float", half, m.fp16_to_float(half), t.fp16_to_float(half));
    }
    for (uint32_t high = 0; high < 65536; high++)
        for (uint32_t low : {0x0000u, 0x0001u, 0x0fffu, 0x1000u, 0x1001u, 0x2fffu, 0x3000u, 0x7fffu, 0x8000u, 0x8001u,
                             0xb000u, 0xffffu}) {
            uint32_t bits = high << 16 | low;
            float x;
            memcpy(&x, &bits, sizeof x);
            check_float("bf16_of_float", x, m.bf16_of_float(x), t.bf16_of_float(x));
            check_float("fp16_of_float", x, m.fp16_of_float(x), t.fp16_of_float(x));
            if (std::isnan(x) &&
                (!std::isnan(m.bf16_to_float(m.bf16_of_float(x))) || !std::isnan(m.fp16_to_float(m.fp16_of_float(x)))))
                faults++;
        }
    printf("%d differences\n", faults);
    return faults != 0;
}

// Sizes of one model: see config.h.
#include "core/nn/config.h"

int model_config_check(const struct model_config *c, struct error *e)
{
    if (c->heads < 1 || c->heads > 64)
        return error_set(e, ERR_INVALID, "heads is %d: it must be 1 to 64", c->heads);
    if (c->max_len < 5 || c->max_len > 512)
        return error_set(e, ERR_INVALID, "max_len is %d: it must be 5 to 512 frames", c->max_len);
    if (c->classes < 2 || c->classes > 65536)
        return error_set(e, ERR_INVALID, "%d classes: there must be 2 to 65536", c->classes);
    if (c->dense_dim < 16 || c->dense_dim > 8192 || c->dense_dim % 16)
        return error_set(e, ERR_INVALID, "dense_dim is %d: it must be a multiple of 16 from 16 to 8192", c->dense_dim);
    for (int i = 0; i <= ENCODERS; i++) {
        int w = c->widths[i];
        if (w < 16 || w > 8192 || w % 16)
            return error_set(e, ERR_INVALID, "width %d is %d: it must be a multiple of 16 from 16 to 8192", i, w);
        if (i < ENCODERS && w % c->heads)
            return error_set(e, ERR_INVALID, "width %d is %d: %d heads do not divide it", i, w, c->heads);
    }
    return 0;
}

// mish(x) = x*tanh(softplus(x)) and its derivative on vectors, without tanh or logarithm: with e = e^x and
// n = e(e+2), tanh(ln(1+e)) = ((1+e)^2-1)/((1+e)^2+1) = n/(n+2). Relative error about 1e-6.
#ifndef ISLR_KERNELS_CPU_MISH_VECTOR_H
#define ISLR_KERNELS_CPU_MISH_VECTOR_H

#include "kernels/cpu/vector.h"

// From 20 on n/(n+2) is 1 to the last bit, and e^2 must not overflow.
#define MISH_LINEAR_FROM 20.0f

VEC_INLINE vf vec_mish(vf x)
{
    vf e = vec_exp(vec_min(x, vec_set(MISH_LINEAR_FROM)));
    vf n = e * (e + 2.0f);
    return x * (n / (n + 2.0f));
}

// tanh(softplus) + x * (1 - tanh^2) * sigmoid(x), where (1 - tanh^2) = 4(1+e)^2/(n+2)^2 and sigmoid = e/(1+e).
VEC_INLINE vf vec_mish_derivative(vf x)
{
    x = vec_min(x, vec_set(MISH_LINEAR_FROM)); // the slope is 1 from there on
    vf e = vec_exp(x);
    vf n = e * (e + 2.0f);
    vf r = 1.0f / (n + 2.0f);
    return (n + x * (4.0f * r) * (e * (e + 1.0f))) * r;
}

#endif

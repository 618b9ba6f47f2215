// The embedding stage in double as the reference describes it, layer by layer and not collapsed: embeddings, norms, two
// convolutions, pos_dense, dense, centring; forward and backward. test_collapse.c holds it against finite differences.
#ifndef ISLR_TESTS_KERNELS_EMBED_REFERENCE_H
#define ISLR_TESTS_KERNELS_EMBED_REFERENCE_H

#include "kernels/backend.h"

enum { EMBED_TENSORS = 12, EMBED_PARTS = 4 };

// The tensors in the order of struct embed_parameters, which is one of pointers.
struct embed_tensor {
    char name[24];     // as published
    int rows, columns; // columns: all dimensions but the first
};
extern const struct embed_tensor embed_tensors[EMBED_TENSORS];
static inline int embed_tensor_size(int tensor)
{
    return embed_tensors[tensor].rows * embed_tensors[tensor].columns;
}
float **embed_parameter(struct embed_parameters *p, int tensor);

// left, right, lips, face: their points, and the landmark of each.
extern const int embed_part_points[EMBED_PARTS];
int embed_part_landmark(int part, int point);

struct embed_reference {
    int clips, frames;
    const int32_t *length;
    const double *x;              // [clips, frames, 100, 3]
    double *value[EMBED_TENSORS]; // parameters
    // written by embed_reference_forward()
    double *full;              // [clips, frames, 100, 16]
    double *part[EMBED_PARTS]; // [clips, frames, points, 16]
    // read and written by embed_reference_backward()
    const double *dfull, *dpart[EMBED_PARTS];
    double *gradient[EMBED_TENSORS];
};

// Allocates all but x, length and the output's gradients; parameters N(0, 0.25) by `seed`, rounded to float.
struct embed_reference embed_reference_make(int clips, int frames, unsigned seed);
void embed_reference_free(struct embed_reference *r);

void embed_reference_forward(struct embed_reference *r);
// Needs no forward before it.
void embed_reference_backward(struct embed_reference *r);

// dfeatures [clips, frames, 100, 16]: the gradient of the features before centring.
void embed_reference_uncentre(const struct embed_reference *r, double *dfeatures);

#endif

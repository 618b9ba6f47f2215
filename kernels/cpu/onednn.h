// What differs between oneDNN 2 (Debian 12) and 3 (Ubuntu 24.04): memory descriptions are structs there and handles here,
// and a primitive is described in two steps there and in one here. Only gemm.c includes this.
#ifndef ISLR_KERNELS_CPU_ONEDNN_H
#define ISLR_KERNELS_CPU_ONEDNN_H

#include <oneapi/dnnl/dnnl.h>

#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t onednn_desc_ref;
#else
typedef const dnnl_memory_desc_t *onednn_desc_ref;
#endif

// A description of a matrix that is owned here; onednn_desc_free() it.
struct onednn_desc {
    dnnl_memory_desc_t d;
    int valid;
};

static inline onednn_desc_ref onednn_ref(const struct onednn_desc *desc)
{
#if DNNL_VERSION_MAJOR >= 3
    return desc->valid ? desc->d : NULL;
#else
    return desc->valid ? &desc->d : NULL;
#endif
}

static inline void onednn_desc_free(struct onednn_desc *desc)
{
#if DNNL_VERSION_MAJOR >= 3
    if (desc->valid)
        dnnl_memory_desc_destroy(desc->d);
#endif
    desc->valid = 0;
}

// [rows, columns] with the given strides; column_stride 0: in whatever layout the primitive likes best.
static inline dnnl_status_t onednn_desc_make(struct onednn_desc *desc, dnnl_dim_t rows, dnnl_dim_t columns,
                                             dnnl_data_type_t type, dnnl_dim_t row_stride, dnnl_dim_t column_stride)
{
    dnnl_dims_t dims = {rows, columns}, strides = {row_stride, column_stride};
    dnnl_status_t rc;
#if DNNL_VERSION_MAJOR >= 3
    rc = column_stride ? dnnl_memory_desc_create_with_strides(&desc->d, 2, dims, type, strides)
                       : dnnl_memory_desc_create_with_tag(&desc->d, 2, dims, type, dnnl_format_tag_any);
#else
    rc = column_stride ? dnnl_memory_desc_init_by_strides(&desc->d, 2, dims, type, strides)
                       : dnnl_memory_desc_init_by_tag(&desc->d, 2, dims, type, dnnl_format_tag_any);
#endif
    desc->valid = rc == dnnl_success;
    return rc;
}

// A copy of the description that a primitive chose.
static inline dnnl_status_t onednn_desc_copy(struct onednn_desc *desc, onednn_desc_ref from)
{
#if DNNL_VERSION_MAJOR >= 3
    dnnl_status_t rc = dnnl_memory_desc_clone(&desc->d, from);
#else
    dnnl_status_t rc = from ? dnnl_success : dnnl_invalid_arguments;
    if (from)
        desc->d = *from;
#endif
    desc->valid = rc == dnnl_success;
    return rc;
}

static inline dnnl_status_t onednn_append_sum(dnnl_post_ops_t ops)
{
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef);
#else
    return dnnl_post_ops_append_sum(ops, 1.0f);
#endif
}

// bias may be NULL.
static inline dnnl_status_t onednn_matmul(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, onednn_desc_ref a,
                                          onednn_desc_ref b, onednn_desc_ref bias, onednn_desc_ref c,
                                          const_dnnl_primitive_attr_t attributes)
{
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_matmul_primitive_desc_create(pd, engine, a, b, bias, c, attributes);
#else
    dnnl_matmul_desc_t d;
    dnnl_status_t rc = dnnl_matmul_desc_init(&d, a, b, bias, c);
    return rc ? rc : dnnl_primitive_desc_create(pd, &d, attributes, engine, NULL);
#endif
}

#endif

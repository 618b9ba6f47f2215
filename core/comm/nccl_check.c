// Holds nccl_library.h against the real nccl.h. Compiled where a build has that; makes no code.
#include <nccl.h>

#include "core/comm/nccl_library.h"

#define SAME_OFFSET(member)                                                                                            \
    _Static_assert(offsetof(ncclConfig_t, member) == offsetof(struct nccl_config, member), #member)

_Static_assert((int)ncclSuccess == NCCL_SUCCESS && (int)ncclInProgress == NCCL_IN_PROGRESS, "results");
_Static_assert((int)ncclInt8 == NCCL_INT8 && (int)ncclFloat32 == NCCL_FLOAT && (int)ncclBfloat16 == NCCL_BFLOAT16 &&
                   (int)ncclSum == NCCL_SUM,
               "types and operations");
_Static_assert(sizeof(ncclUniqueId) == sizeof(struct nccl_id), "unique id");
#ifdef NCCL_API_MAGIC
_Static_assert(NCCL_API_MAGIC == NCCL_CONFIG_MAGIC, "magic of the configuration");
#endif
_Static_assert(NCCL_VERSION(2, 14, 0) == NCCL_CONFIG_VERSION, "version of the configuration");
SAME_OFFSET(size);
SAME_OFFSET(magic);
SAME_OFFSET(version);
SAME_OFFSET(blocking);

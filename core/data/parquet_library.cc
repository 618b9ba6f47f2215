// Which Arrow this is: see parquet.h.
#include "core/data/parquet.h"

#include <arrow/config.h>

const char *parquet_library(void)
{
    return arrow::GetBuildInfo().version_string.c_str(); // lives as long as the program
}

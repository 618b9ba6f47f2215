// What Arrow allocates for one recording, so that a lack of memory is told from a file that asks for more than any
// sound one. For parquet_read.cc alone.
#ifndef ISLR_DATA_PARQUET_POOL_H
#define ISLR_DATA_PARQUET_POOL_H

#include <cstdint>
#include <string>

#include <arrow/memory_pool.h>
#include <arrow/status.h>

class parquet_pool : public arrow::MemoryPool
{
  public:
    // The longest recording's landmark types, undivided and not compressed, are 125 MB.
    static constexpr int64_t MAX_BYTES = int64_t{512} << 20;

    bool starved = false; // the system had no memory for a size that is none of the file's faults

    using arrow::MemoryPool::Allocate;
    using arrow::MemoryPool::Free;
    using arrow::MemoryPool::Reallocate;

    arrow::Status Allocate(int64_t size, int64_t alignment, uint8_t **out) override
    {
        return size > MAX_BYTES ? refuse(size) : note(system->Allocate(size, alignment, out));
    }

    arrow::Status Reallocate(int64_t old_size, int64_t size, int64_t alignment, uint8_t **data) override
    {
        return size > MAX_BYTES ? refuse(size) : note(system->Reallocate(old_size, size, alignment, data));
    }

    void Free(uint8_t *buffer, int64_t size, int64_t alignment) override { system->Free(buffer, size, alignment); }

    int64_t bytes_allocated() const override { return system->bytes_allocated(); }

    int64_t total_bytes_allocated() const override { return system->total_bytes_allocated(); }

    int64_t num_allocations() const override { return system->num_allocations(); }

    std::string backend_name() const override { return system->backend_name(); }

  private:
    arrow::MemoryPool *system = arrow::system_memory_pool();

    static arrow::Status refuse(int64_t size)
    {
        return arrow::Status::Invalid("a part of it claims to be of ", size, " bytes");
    }

    arrow::Status note(arrow::Status status)
    {
        starved |= status.IsOutOfMemory();
        return status;
    }
};

#endif

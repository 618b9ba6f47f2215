// Launches and shared memory of kernels/cuda in the host model: what kernels/cuda/kernel.cuh declares, over the
// machine.
#ifndef ISLR_TESTS_CUDAHOST_LAUNCH_H
#define ISLR_TESTS_CUDAHOST_LAUNCH_H

#include <type_traits>

#include "cuda_runtime.h"

namespace cudahost
{

// Queues work on a stream; it runs when the stream is waited for. Returns what the runtime would.
cudaError_t stream_queue(cudaStream_t s, std::function<cudaError_t()> work);
// Checks the launch, and queues it.
cudaError_t launch(cudaStream_t s, const struct grid &g, std::function<void()> body);

// An element of shared memory: reading and writing it are checked.
template <class T> class reference
{
    struct shared_array *array;
    ptrdiff_t at;

  public:
    reference(struct shared_array *array, ptrdiff_t at) : array(array), at(at) {}
    operator T() const
    {
        T x;
        memcpy(&x, shared_read(array, at), sizeof x);
        return x;
    }
    const reference &operator=(T x) const
    {
        memcpy(shared_write(array, at), &x, sizeof x);
        return *this;
    }
    const reference &operator=(const reference &other) const { return *this = static_cast<T>(other); }
    const reference &operator+=(T x) const { return *this = static_cast<T>(*this) + x; }
};

// A pointer into shared memory.
template <class T> class pointer
{
    struct shared_array *array;
    ptrdiff_t at;

  public:
    explicit pointer(struct shared_array *array, ptrdiff_t at = 0) : array(array), at(at) {}
    template <class I> reference<T> operator[](I i) const { return {array, at + static_cast<ptrdiff_t>(i)}; }
    reference<T> operator*() const { return {array, at}; }
    template <class I> pointer operator+(I i) const { return pointer(array, at + static_cast<ptrdiff_t>(i)); }
    ptrdiff_t index() const { return at; }
    T at_index(ptrdiff_t i) const { return reference<T>(array, i); }
    // A copy of x to element i that is under way until copies_wait().
    void begin_copy(int i, T x) const
    {
        static_assert(sizeof(T) == sizeof(uint32_t), "copies move words");
        copy_begin(array, at + i, x);
    }
    // Where `bytes` that are accessed at once begin.
    void check_alignment(size_t bytes) const
    {
        if (static_cast<size_t>(at) * sizeof(T) % bytes)
            shared_fail(array, at, "is accessed with others at once, but is not aligned to that", NOBODY);
    }
};

} // namespace cudahost

template <class T> using shared = cudahost::pointer<T>;

#define SHARED(type, name, size)                                                                                       \
    static struct cudahost::shared_array name##_array = {#name, __FILE__, __LINE__, sizeof(type)};                     \
    cudahost::shared_array_enter(&name##_array, size);                                                                 \
    const shared<type> name(&name##_array)

#define DYNAMIC_SHARED(type, name) SHARED(type, name, 0)

static inline float4 load4(const shared<float> &p)
{
    p.check_alignment(sizeof(float4));
    return {p[0], p[1], p[2], p[3]};
}

static inline void store4(const shared<float> &p, float4 x)
{
    p.check_alignment(sizeof(float4));
    p[0] = x.x, p[1] = x.y, p[2] = x.z, p[3] = x.w;
}

#endif

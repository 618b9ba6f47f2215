// Fibers: see fiber.h. On x86-64 the switch is six pushes and pops; elsewhere ucontext does it. AddressSanitizer is
// told of every switch.
#include "tests/cudahost/fiber.h"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include <sys/mman.h>
#include <unistd.h>

#ifndef __x86_64__
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#endif

#ifdef FIBER_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
enum { STACK_SIZE = 256 << 10 }; // its frames are larger
#else
enum { STACK_SIZE = 64 << 10 };
#endif
static const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));

struct context {
#ifdef __x86_64__
    void *top; // of the stack, where the registers are
#else
    ucontext_t registers;
#endif
    void *fake_stack; // AddressSanitizer's
};

struct fiber {
    struct context context;
    char *memory; // a page without access, then the stack
    void (*body)(void *);
    void *argument;
    int finished;
};

static struct context caller; // who resumed the running fiber
static struct fiber *running;
static const void *caller_stack; // its bounds, as AddressSanitizer says
static size_t caller_stack_size;

// ---- the switch ---------------------------------------------------------------------------------------------------

#ifdef __x86_64__
extern "C" void cudahost_switch(void **save_top, void *top);
asm(".text\n"
    ".globl cudahost_switch\n"
    ".type cudahost_switch, @function\n"
    "cudahost_switch:\n"
    "    pushq %rbp\n"
    "    pushq %rbx\n"
    "    pushq %r12\n"
    "    pushq %r13\n"
    "    pushq %r14\n"
    "    pushq %r15\n"
    "    movq %rsp, (%rdi)\n"
    "    movq %rsi, %rsp\n"
    "    popq %r15\n"
    "    popq %r14\n"
    "    popq %r13\n"
    "    popq %r12\n"
    "    popq %rbx\n"
    "    popq %rbp\n"
    "    ret\n"
    ".size cudahost_switch, .-cudahost_switch\n");
#endif

static void switch_context(struct context *from, struct context *to, const void *stack, size_t size)
{
#ifdef FIBER_ASAN
    __sanitizer_start_switch_fiber(&from->fake_stack, stack, size);
#else
    (void)stack, (void)size;
#endif
#ifdef __x86_64__
    cudahost_switch(&from->top, to->top);
#else
    swapcontext(&from->registers, &to->registers);
#endif
}

static void arrived(struct context *here, const void **from_stack, size_t *from_size)
{
#ifdef FIBER_ASAN
    __sanitizer_finish_switch_fiber(here->fake_stack, from_stack, from_size);
#else
    (void)here, (void)from_stack, (void)from_size;
#endif
}

void fiber_pause()
{
    struct fiber *self = running;
    switch_context(&self->context, &caller, caller_stack, caller_stack_size);
    arrived(&self->context, &caller_stack, &caller_stack_size);
}

// What a new fiber runs, for ever: a body, then a pause.
static void fiber_main()
{
    struct context none = {};
    arrived(&none, &caller_stack, &caller_stack_size);
    for (;;) {
        struct fiber *self = running;
        self->body(self->argument);
        self->finished = 1;
        fiber_pause();
    }
}

// ---- life ---------------------------------------------------------------------------------------------------------

struct fiber *fiber_create()
{
    struct fiber *f = new fiber();
    void *p =
        mmap(nullptr, page + STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED || mprotect(p, page, PROT_NONE)) {
        fprintf(stderr, "cudahost: no memory for the stack of a thread\n");
        abort();
    }
    f->memory = static_cast<char *>(p);
    f->finished = 1;
#ifdef __x86_64__
    // As cudahost_switch leaves a stack: six registers, then where to go; there the stack is 8 off from 16.
    uintptr_t *top = reinterpret_cast<uintptr_t *>(f->memory + page + STACK_SIZE) - 2;
    *top = reinterpret_cast<uintptr_t>(fiber_main);
    f->context.top = top - 6;
#else
    getcontext(&f->context.registers);
    f->context.registers.uc_stack.ss_sp = f->memory + page;
    f->context.registers.uc_stack.ss_size = STACK_SIZE;
    makecontext(&f->context.registers, fiber_main, 0);
#endif
    return f;
}

void fiber_destroy(struct fiber *f)
{
    if (!f)
        return;
#ifdef FIBER_ASAN
    __asan_unpoison_memory_region(f->memory + page, STACK_SIZE);
#endif
    munmap(f->memory, page + STACK_SIZE);
    delete f;
}

int fiber_resume(struct fiber *f)
{
    running = f;
    switch_context(&caller, &f->context, f->memory + page, STACK_SIZE);
    arrived(&caller, nullptr, nullptr);
    running = nullptr;
    return f->finished;
}

void fiber_start(struct fiber *f, void (*body)(void *), void *argument)
{
    f->body = body;
    f->argument = argument;
    f->finished = 0;
    fiber_resume(f);
}

int fiber_finished(const struct fiber *f)
{
    return f->finished;
}

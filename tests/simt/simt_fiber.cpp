#include "tests/simt/simt_fiber.h"

#include <sys/mman.h>

#include <stdexcept>
#include <utility>

#if defined(IWSEG_SANITIZED)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace iwseg::simt::executor {
namespace {

constexpr std::size_t kGuard = 4096;
#if defined(IWSEG_SANITIZED)
constexpr std::size_t kStack = 512 << 10;
#else
constexpr std::size_t kStack = 128 << 10;
#endif

#if defined(__x86_64__)
// Saves what a called function must keep, changes stacks, and returns on the other one: 30 ns, where swapcontext, which
// also saves the signal mask by a system call, takes 260.
extern "C" void iwseg_simt_switch(void** save, void* to);
asm(R"(
.text
.type iwseg_simt_switch,@function
iwseg_simt_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size iwseg_simt_switch,.-iwseg_simt_switch
)");
#endif

#if defined(__x86_64__)
void change(void*& from, void*& to) {
    iwseg_simt_switch(&from, to);
}
#else
void change(ucontext_t& from, ucontext_t& to) {
    ::swapcontext(&from, &to);
}
#endif

}  // namespace

Fiber* Fiber::starting = nullptr;

Fiber::Fiber() {
    void* memory = ::mmap(nullptr, kStack + kGuard, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::runtime_error("no memory for a fiber's stack");
    ::mprotect(memory, kGuard, PROT_NONE);
    stack_ = static_cast<char*>(memory) + kGuard;
#if defined(IWSEG_SANITIZED)
    // A fiber that was given up while it waited may have had its stack here, marked as its functions left it.
    __asan_unpoison_memory_region(stack_, kStack);
#endif
}

Fiber::~Fiber() {
    ::munmap(stack_ - kGuard, kStack + kGuard);
}

void Fiber::start(std::function<void()> work) {
    work_ = std::move(work);
    ended_ = false;
    starting = this;
#if defined(__x86_64__)
    auto* top = reinterpret_cast<void**>(stack_ + kStack);
    *--top = nullptr;  // keeps the stack aligned as a called function expects it
    *--top = reinterpret_cast<void*>(&Fiber::enter);
    for (int kept = 0; kept < 6; ++kept) *--top = nullptr;
    inner_ = top;
#else
    ::getcontext(&inner_);
    inner_.uc_stack = {stack_, 0, kStack};
    ::makecontext(&inner_, &Fiber::enter, 0);
#endif
    go_in();
}

void Fiber::leave() {
#if defined(IWSEG_SANITIZED)
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(ended_ ? nullptr : &fake, outer_stack_, outer_size_);
#endif
    change(inner_, outer_);
#if defined(IWSEG_SANITIZED)
    __sanitizer_finish_switch_fiber(fake, &outer_stack_, &outer_size_);
#endif
}

void Fiber::go_in() {
#if defined(IWSEG_SANITIZED)
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, stack_, kStack);
#endif
    change(outer_, inner_);
#if defined(IWSEG_SANITIZED)
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

void Fiber::enter() {
    Fiber& self = *starting;
#if defined(IWSEG_SANITIZED)
    __sanitizer_finish_switch_fiber(nullptr, &self.outer_stack_, &self.outer_size_);
#endif
    self.work_();
    self.ended_ = true;
    self.leave();
}

}  // namespace iwseg::simt::executor

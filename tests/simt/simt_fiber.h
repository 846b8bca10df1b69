#pragma once

#include <ucontext.h>

#include <cstddef>
#include <functional>

namespace iwseg::simt::executor {

/// A stack of its own, on which work runs until it returns; work may hand control back in between. A hand-written
/// switch on x86-64, ucontext elsewhere.
class Fiber {
  public:
    Fiber();
    ~Fiber();
    Fiber(const Fiber&) = delete;
    Fiber& operator=(const Fiber&) = delete;

    void start(std::function<void()> work);
    void resume() { go_in(); }
    /// From within: back to who started or resumed.
    void leave();

  private:
#if defined(__x86_64__)
    using Registers = void*;  ///< the stack's top, which they are saved on
#else
    using Registers = ucontext_t;
#endif
    static Fiber* starting;

    static void enter();
    void go_in();

    char* stack_ = nullptr;
    Registers inner_{}, outer_{};
    std::function<void()> work_;
    bool ended_ = false;
    [[maybe_unused]] const void* outer_stack_ = nullptr;
    [[maybe_unused]] std::size_t outer_size_ = 0;
};

}  // namespace iwseg::simt::executor

#pragma once

#include <stdexcept>

namespace iwseg {

/// Work was ended by Ctrl-C or SIGTERM after what was worth keeping had been saved. The command ends with exit code 130.
class Interrupted : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// While one lives, the first SIGINT or SIGTERM only sets a flag and a second one kills. May be nested.
class InterruptGuard {
  public:
    InterruptGuard();
    ~InterruptGuard();
    InterruptGuard(const InterruptGuard&) = delete;
    InterruptGuard& operator=(const InterruptGuard&) = delete;

    /// Whether a signal came since the outermost guard was made.
    static bool requested();
};

}  // namespace iwseg

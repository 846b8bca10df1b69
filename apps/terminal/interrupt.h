#pragma once

#include <cstdint>
#include <stdexcept>

namespace iwseg {

/// Work was ended by a signal after what was worth keeping had been saved. The command ends with exit code 130.
class Interrupted : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// While one lives, the first SIGINT (Ctrl-C), SIGTERM, SIGHUP (a terminal that closes) or SIGUSR1 (SLURM's
/// --signal=USR1@120) says at once on stderr what happens now and sets a flag. A second SIGINT or SIGTERM kills; the
/// other two may come again. SIGHUP stays ignored under nohup. May be nested: the innermost says what happens.
class InterruptGuard {
  public:
    /// promise: what is done after the signal, as in "finishing step #, then saving", with the number last given to
    /// working_on() for '#'. Must outlive the guard.
    explicit InterruptGuard(const char* promise = "ending what is under way");
    ~InterruptGuard();
    InterruptGuard(const InterruptGuard&) = delete;
    InterruptGuard& operator=(const InterruptGuard&) = delete;

    /// The number of the work that a signal would find under way.
    static void working_on(std::int64_t number);
    /// Whether a signal came since the outermost guard was made.
    static bool requested();

  private:
    const char* outer_promise_;
};

}  // namespace iwseg

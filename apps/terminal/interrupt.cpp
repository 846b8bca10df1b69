#include "apps/terminal/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>

namespace iwseg {
namespace {

constexpr std::array kSignals{SIGINT, SIGTERM, SIGHUP, SIGUSR1};

// A signal handler can reach nothing but statics, and of the library only what needs neither lock nor memory.
std::atomic<bool> signalled = false, insisted = false, on_terminal = false;
std::atomic<const char*> promise_now = nullptr;
std::atomic<std::int64_t> number_now = 0;
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<const char*>::is_always_lock_free &&
              std::atomic<std::int64_t>::is_always_lock_free);
int guards = 0;
std::array<struct sigaction, kSignals.size()> previous;

/// A line of bounded length, put together where formatting is not allowed.
class SignalLine {
  public:
    void add(char c) {
        if (size_ < text_.size()) text_[size_++] = c;
    }
    void add(const char* text) {
        for (; *text; ++text) add(*text);
    }
    void add(std::int64_t number) {
        if (number >= 10) add(number / 10);
        add(static_cast<char>('0' + number % 10));
    }
    void write() const {
        // Nobody may be there to read it.
        if (::write(STDERR_FILENO, text_.data(), size_) < 0) return;
    }

  private:
    std::array<char, 240> text_;
    std::size_t size_ = 0;
};

void tell_what_happens() {
    SignalLine line;
    if (on_terminal) line.add("\r\033[K");  // over the progress bar
    line.add("iwseg: ");
    for (const char* c = promise_now; *c; ++c) {
        if (*c == '#')
            line.add(number_now.load());
        else
            line.add(*c);
    }
    line.add("; again to stop at once\n");
    line.write();
}

extern "C" void note_signal(int signal_number) {
    const int error = errno;
    const bool insists = signal_number == SIGINT || signal_number == SIGTERM;
    if (insists && insisted.exchange(true)) {
        signal(signal_number, SIG_DFL);
        raise(signal_number);
    }
    if (!signalled.exchange(true)) tell_what_happens();
    errno = error;
}

}  // namespace

InterruptGuard::InterruptGuard(const char* promise) : outer_promise_(promise_now.exchange(promise)) {
    if (guards++ > 0) return;
    signalled = insisted = false;
    on_terminal = ::isatty(STDERR_FILENO) != 0;
    struct sigaction action = {};
    action.sa_handler = note_signal;
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    for (std::size_t i = 0; i < kSignals.size(); ++i) {
        sigaction(kSignals[i], &action, &previous[i]);
        if (kSignals[i] == SIGHUP && previous[i].sa_handler == SIG_IGN) sigaction(SIGHUP, &previous[i], nullptr);
    }
}

InterruptGuard::~InterruptGuard() {
    if (--guards == 0)
        for (std::size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &previous[i], nullptr);
    promise_now = outer_promise_;
}

void InterruptGuard::working_on(std::int64_t number) {
    number_now = number;
}

bool InterruptGuard::requested() {
    return signalled;
}

}  // namespace iwseg

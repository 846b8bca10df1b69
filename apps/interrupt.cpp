#include "apps/interrupt.h"

#include <signal.h>

namespace iwseg {
namespace {

// A signal handler can reach nothing but statics.
volatile sig_atomic_t signalled = 0;
int guards = 0;
struct sigaction previous_int, previous_term;

extern "C" void note_signal(int number) {
    if (signalled) {
        signal(number, SIG_DFL);
        raise(number);
    }
    signalled = 1;
}

}  // namespace

InterruptGuard::InterruptGuard() {
    if (guards++ > 0) return;
    signalled = 0;
    struct sigaction action = {};
    action.sa_handler = note_signal;
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    sigaction(SIGINT, &action, &previous_int);
    sigaction(SIGTERM, &action, &previous_term);
}

InterruptGuard::~InterruptGuard() {
    if (--guards > 0) return;
    sigaction(SIGINT, &previous_int, nullptr);
    sigaction(SIGTERM, &previous_term, nullptr);
}

bool InterruptGuard::requested() { return signalled != 0; }

}  // namespace iwseg

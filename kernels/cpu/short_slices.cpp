#include "kernels/cpu/short_slices.h"

#ifdef __linux__
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace iwseg {

void ask_for_short_slices() noexcept {
#ifdef __linux__
    constexpr unsigned long long kNanoseconds = 1'000'000;
    // As it is, niceness included, but for the slice. Only the ordinary policy has one.
    sched_attr attributes{};
    if (::syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0) != 0) return;
    if (attributes.sched_policy != SCHED_NORMAL) return;
    attributes.sched_runtime = kNanoseconds;
    static_cast<void>(::syscall(SYS_sched_setattr, 0, &attributes, 0));
#endif
}

}  // namespace iwseg

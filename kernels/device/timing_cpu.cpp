#include "kernels/device/timing.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/device/arithmetic_cpu.h"

namespace iwseg::cpu {
namespace {

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

Event record_event(Stream, Event) {
    return {nullptr, now()};
}
void wait_in_stream(Stream, Event) {}
void wait_for(Event) {}
double seconds_between(Event from, Event to) {
    return to.seconds - from.seconds;
}
void release_event(Event) noexcept {}
bool completed(Event) {
    return true;
}
void delay(Stream, double) {}
void begin_range(const char*) {}
void end_range() {}

double arithmetic_peak(Stream stream, bool bf16) {
    const auto run = arithmetic_of(instructions().set, bf16).run;
    const int threads = stream.handle ? threads_of(stream)->threads_there() : 1;
    double best = 0;
    for (int round = 0; round < 3; ++round) {
        struct Measured {
            double operations = 0, seconds = 0;
            float meaningless = 0;
        };
        std::vector<Measured> of(static_cast<std::size_t>(threads));
        const auto measure = [&](std::int64_t thread) {
            const double begin = now();
            of[thread].operations = run(0.5f, &of[thread].meaningless);
            of[thread].seconds = now() - begin;
        };
        if (!stream.handle)
            measure(0);
        else if (!threads_of(stream)->run_together(threads, measure))
            return 0;  // they are at work: what one of them does would not be the machine's peak
        double operations = 0, seconds = 0;
        float meaningless = 0;
        for (const Measured& thread : of) {
            operations += thread.operations;
            seconds = std::max(seconds, thread.seconds);
            meaningless += thread.meaningless;
        }
        if (meaningless != 0) best = std::max(best, operations / seconds);
    }
    return best;
}

}  // namespace iwseg::cpu

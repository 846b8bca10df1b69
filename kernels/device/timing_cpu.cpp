#include "kernels/device/timing.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "kernels/convolution/amx/processor_products.h"
#include "kernels/convolution/row_tile.h"
#include "kernels/convolution/weight_gradient_pairs.h"
#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector_clones.h"
#include "kernels/cpu/vector_of.h"
#include "kernels/device/bf16.h"

namespace iwseg::cpu {
namespace {

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

constexpr std::int64_t kRounds = 20'000'000;

/// Multiplies and adds as fast as the processor can; operations done. kSums hide the latency and fit into registers.
/// What is summed means nothing; it is given back so that the compiler does not leave the work out.
template <int kLanes, int kSums>
[[gnu::always_inline]] inline double multiply_and_add(float factor, float* meaningless) {
    Vector<kLanes> sums[kSums] = {};
    for (int k = 0; k < kSums; ++k) sums[k] += factor * static_cast<float>(k);  // else they are all one to the compiler
    for (std::int64_t round = 0; round < kRounds; ++round)
#pragma GCC unroll 16
        for (int k = 0; k < kSums; ++k) sums[k] = sums[k] * factor + factor;
    for (const auto& sum : sums) *meaningless += sum[0];
    return 2.0 * kSums * kLanes * kRounds;
}

IWSEG_VECTOR_CLONES double by_registers_of_avx2(float factor, float* meaningless) {
    return multiply_and_add<8, 12>(factor, meaningless);
}

#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("arch=x86-64-v4"))) double by_registers_of_avx512(float factor, float* meaningless) {
    return multiply_and_add<16, 16>(factor, meaningless);
}

__attribute__((target("arch=x86-64-v4"))) double by_pairs_of_bf16(float factor, float* meaningless) {
    constexpr int kSums = 16;
    using V = Vector<16>;
    V sums[kSums] = {};
    for (int k = 0; k < kSums; ++k) sums[k] += factor * static_cast<float>(k);
    const V factors = V{} + factor;
    for (std::int64_t round = 0; round < kRounds; ++round)
#pragma GCC unroll 16
        for (int k = 0; k < kSums; ++k) {
            V sum = sums[k];  // a variable stays in a register, where the array's element would not
            asm("vdpbf16ps %1, %1, %0" : "+v"(sum) : "v"(factors));
            sums[k] = sum;
        }
    for (const auto& sum : sums) *meaningless += sum[0];
    return 4.0 * kSums * 16 * kRounds;
}

double by_tiles(float factor, float* meaningless) {
    const TileProducts& products = processor_products();
    const TilesInUse tiles(products);
    Bf16 operand[kTileBytes / sizeof(Bf16)];
    for (Bf16& element : operand) store(element, factor);
    float sums[4 * 256];
    const double operations = products.in_registers(kRounds / 4, operand, sums);
    *meaningless += sums[0];
    return operations;
}
#else
constexpr auto by_registers_of_avx512 = by_registers_of_avx2, by_pairs_of_bf16 = by_registers_of_avx2,
               by_tiles = by_registers_of_avx2;
#endif

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
    const auto run = bf16 && may_use(InstructionSet::amx) ? by_tiles
                     : bf16 && pairs_work()               ? by_pairs_of_bf16
                     : row_tiles_work()                   ? by_registers_of_avx512
                                                          : by_registers_of_avx2;
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

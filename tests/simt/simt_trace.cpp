// Prints what each kernel of a training step asks of memory, by kernel and by line: docs/performance.md, "Counted on
// the executor". Run by hand: simt_trace prints a row a call; simt_trace NAME prints the lines of the calls that have
// NAME in theirs, as in simt_trace "batch_norm_apply, bf16".
#include <cstdio>
#include <string>

#include "tests/simt/traced_kernels.h"

namespace {

using iwseg::simt::executor::AccessCount;
using iwseg::simt::executor::Space;

using iwseg::simt::executor::Counters;

/// One row: all kernels of a call.
void print_row(const iwseg::TracedCall& call) {
    Counters counters;
    const double operands = iwseg::trace(call, counters);
    AccessCount device, shared;
    double moved = 0;
    for (const auto& kernel : counters.kernels()) {
        device.add(kernel.device);
        shared.add(kernel.shared);
        moved += double(kernel.bytes_read + kernel.bytes_written);
    }
    std::printf("| %s | %.2f | %.2f | %.1f | ", call.name().c_str(), moved / operands, device.sector_efficiency(),
                device.lanes_a_request());
    if (shared.requests)
        std::printf("%.2f | ", shared.cycles_a_request());
    else
        std::printf(" | ");
    if (device.atomics)
        std::printf("%.1f | %s |\n", double(device.in_turn) / double(device.atomics), iwseg::limit_of(call).reason);
    else
        std::printf(" | %s |\n", iwseg::limit_of(call).reason);
}

/// Its kernels, line by line.
void print_lines(const iwseg::TracedCall& call) {
    Counters counters;
    iwseg::trace(call, counters);
    std::printf("\n### %s, (%ld, %ld, %ld, %ld, %ld)\n\n", call.name().c_str(), long(call.shape.n), long(call.shape.c),
                long(call.shape.d), long(call.shape.h), long(call.shape.w));
    std::printf(
        "| kernel, line | | requests | lanes | sectors | fewest | share | cycles a request | atomics in turn |\n");
    std::printf("|---|---|---:|---:|---:|---:|---:|---:|---:|\n");
    for (const auto& kernel : counters.kernels()) {
        std::printf(
            "| **%s** | %ld kB read, %ld written | %ld | %.1f | %ld | %ld | %.2f | %.2f | |\n", kernel.kernel.c_str(),
            long(kernel.bytes_read / 1000), long(kernel.bytes_written / 1000),
            long(kernel.device.requests + kernel.shared.requests),
            double(kernel.device.lanes + kernel.shared.lanes) / double(kernel.device.requests + kernel.shared.requests),
            long(kernel.device.sectors), long(kernel.device.fewest), kernel.device.sector_efficiency(),
            kernel.shared.cycles_a_request());
        for (const auto& line : counters.lines()) {
            if (line.kernel != kernel.kernel) continue;
            const AccessCount& c = line.count;
            const bool shared = line.space == Space::shared;
            std::printf("| %s | %s %s | %ld | %.1f | ", line.line.c_str(), shared ? "shared" : "device",
                        line.write ? "write" : "read", long(c.requests), c.lanes_a_request());
            if (shared)
                std::printf("| | | %.2f |", c.cycles_a_request());
            else
                std::printf("%ld | %ld | %.2f | |", long(c.sectors), long(c.fewest), c.sector_efficiency());
            if (c.atomics)
                std::printf(" %.1f |\n", double(c.in_turn) / double(c.atomics));
            else
                std::printf(" |\n");
        }
    }
}

}  // namespace

int main(int count, char** arguments) {
    if (!iwseg::simt::executor::has_hooks()) {
        std::fprintf(stderr,
                     "simt_trace: kernels of this build are compiled without hooks (AddressSanitizer, not g++)\n");
        return 2;
    }
    if (count < 2)
        std::printf(
            "| call, type, channels | bytes moved / operands | share of sectors | lanes | bank cycles | atomics in "
            "turn "
            "| why below 0.9 |\n|---|---:|---:|---:|---:|---:|---|\n");
    for (const iwseg::TracedCall& call : iwseg::traced_calls()) {
        if (count < 2)
            print_row(call);
        else if (call.name().find(arguments[1]) != std::string::npos)
            print_lines(call);
    }
}

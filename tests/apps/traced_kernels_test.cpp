// The network's kernels ask memory for little more than they use.
#include "tests/simt/traced_kernels.h"

#include <gtest/gtest.h>

namespace iwseg::simt {
namespace {

using executor::AccessCount;
using executor::Counters;

TEST(TracedKernels, UseWhatTheyAskMemoryFor) {
    for (const TracedCall& call : traced_calls()) {
        SCOPED_TRACE(call.name());
        Counters counters;
        trace(call, counters);
        AccessCount device, shared;
        for (const executor::KernelCount& kernel : counters.kernels())
            device.add(kernel.device), shared.add(kernel.shared);
        EXPECT_GT(device.requests, 0);
        const TracedLimit limit = limit_of(call);
        EXPECT_GE(device.sector_efficiency(), limit.sector_efficiency);
        EXPECT_LE(shared.cycles_a_request(), limit.cycles_a_request);
    }
}

}  // namespace
}  // namespace iwseg::simt

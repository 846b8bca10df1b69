// Batch normalisations whose statistics the convolutions before them leave on the way, in whole training steps on the
// executor, whose race detector looks on.
#include <gtest/gtest.h>

#include "tests/simt/simt_backend.h"
#include "tests/support/fused_step.h"

namespace iwseg {
namespace {

Kernels apart() {
    return with_passes_of_their_own<&simt::make_convolution>(simt::kernels());
}

TEST(FusedNormalisation, OfAWholeStepEqualsPassesOfItsOwn) {
    const Kernels passes = apart();
    FusedTraining fused(simt::kernels()), unfused(passes);
    // 31 narrow convolutions, but those before a max-pool of no skip or an upsampling: of the bridge and two levels up.
    EXPECT_EQ(fused.calls("convolution forward", " sums"), 28);
    EXPECT_EQ(unfused.calls("convolution forward", " sums"), 0);
    expect_same_step(fused, unfused);
    EXPECT_NO_THROW(simt::check_sentinels());
}

// By another schedule of threads, recorded and replayed or not: the first step is queued call by call, the second
// recorded, the third replayed.
TEST(FusedNormalisation, LeavesTheSameBytesAtEachReplay) {
    const simt::Unwatched looked_at_above;
    FusedTraining recorded(simt::kernels()), queued(simt::kernels(), false);
    const auto expected = queued.train(3);
    simt::schedule_by(7);
    EXPECT_EQ(recorded.train(3), expected);
    simt::schedule_by(0);
    EXPECT_EQ(recorded.parameters().values(), queued.parameters().values());
    EXPECT_EQ(recorded.parameters().gradients(), queued.parameters().gradients());
}

}  // namespace
}  // namespace iwseg

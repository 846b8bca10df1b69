// What a plan says of its steps' times where the card is behind the host, and where it waits for it.
#include <memory>

#include "engine/plan.h"
#include "tests/cuda_host/cuda_host.h"

namespace iwseg {
namespace {

class StepTimesOnCard : public CudaHost {
  protected:
    /// A plan of three steps, behind the second of which the host waits for the card or does not.
    static StepTimes times(Context& context, bool waits) {
        const Backend& device = context.backend();
        Program program;
        const Buffer filled = program.add(BufferSpec{"filled", {1, 1, 1, 1, 64}});
        for (const bool second : {false, true, false})
            program.add(
                Call{"fill", "", {}, {filled}, [&device, &context, filled, waits = waits && second](const Plan& plan) {
                         device.set_zero(context.stream(), plan.data<void>(filled), 256);
                         if (waits) device.synchronise(context.stream());
                     }});
        return Plan(context, program).run_timed();
    }
};

// Work is done as late as it may be: at the last step the card is still in the delay before the first.
TEST_F(StepTimesOnCard, AreTheCardsOwnWhereEverythingIsQueuedInTime) {
    Context context({.device = "cuda", .threads = 1});
    const StepTimes got = times(context, false);
    EXPECT_FALSE(got.starved);
    ASSERT_EQ(got.seconds.size(), 3u);
    for (const double seconds : got.seconds)
        EXPECT_NEAR(seconds, 1e-6, 1e-8) << "what the card's clock has for each work";
}

TEST_F(StepTimesOnCard, AreSaidToBeStarvedWhereTheCardCameFirst) {
    Context context({.device = "cuda", .threads = 1});
    EXPECT_TRUE(times(context, true).starved);
}

TEST_F(StepTimesOnCard, AreSaidToBeStarvedByChanceWhereTheCardWorksByChance) {
    constexpr int kCards = 30;
    int starved = 0;
    for (int seed = 1; seed <= kCards; ++seed) {
        expect_clean();
        standin::insert_card({.seed = static_cast<std::uint64_t>(seed)});
        Context context({.device = "cuda", .threads = 1});
        starved += times(context, false).starved;
    }
    EXPECT_GT(starved, 0);
    EXPECT_LT(starved, kCards);
}

}  // namespace
}  // namespace iwseg

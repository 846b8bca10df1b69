// Batch normalisations whose statistics the convolutions before them leave on the way and which those after them apply
// on the way, in whole training steps on the executor, whose race detector looks on.
#include <gtest/gtest.h>

#include "engine/compile.h"
#include "engine/device_memory.h"
#include "engine/graph.h"
#include "engine/ops/add.h"
#include "engine/ops/batch_norm.h"
#include "engine/ops/conv.h"
#include "engine/ops/relu.h"
#include "engine/plan.h"
#include "tests/simt/simt_backend.h"
#include "tests/support/fused_step.h"

namespace iwseg {
namespace {

Backend apart() {
    return with_passes_of_their_own<&simt::make_convolution>(simt::backend());
}

TEST(FusedNormalisation, OfAWholeStepEqualsPassesOfItsOwn) {
    const Backend passes = apart();
    FusedTraining fused(simt::backend()), unfused(passes);
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
    FusedTraining recorded(simt::backend()), queued(simt::backend(), false);
    const auto expected = queued.train(3);
    simt::schedule_by(7);
    EXPECT_EQ(recorded.train(3), expected);
    simt::schedule_by(0);
    EXPECT_EQ(recorded.parameters().values(), queued.parameters().values());
    EXPECT_EQ(recorded.parameters().gradients(), queued.parameters().gradients());
}

// A normalisation is applied on the way with the bits of a pass of its own: nothing differs. Left are the passes before
// what is not narrow: convolutions of kernel 1 and the network's end.
TEST(FusedNormalisation, AppliedOnTheWayIsTheSameBytes) {
    const simt::Unwatched looked_at_above;
    const Backend passes = apart(),
                  on_the_way = with_passes_of_their_own<&simt::make_convolution, false, true>(simt::backend());
    FusedTraining fused(on_the_way), unfused(passes);
    EXPECT_EQ(unfused.calls("batch norm forward") - fused.calls("batch norm forward"), 31);
    EXPECT_EQ(unfused.calls("batch norm rebuild") - fused.calls("batch norm rebuild"), 31);
    EXPECT_EQ(fused.calls("batch norm forward"), 7);
    EXPECT_EQ(fused.train(2), unfused.train(2));
    EXPECT_EQ(fused.parameters().values(), unfused.parameters().values());
    EXPECT_EQ(fused.parameters().gradients(), unfused.parameters().gradients());
}

class OneConvolution {
  public:
    /// y = relu(batch_norm(x)) convolved, + x where it adds.
    OneConvolution(const Backend& backend, bool adds, bool read_twice)
        : context_(backend, {.threads = 1}), adds_(adds), read_twice_(read_twice) {}

    std::vector<float> run() {
        const Shape shape{1, 16, 6, 9, 18};
        Graph graph;
        const Tensor given = graph.input("x", shape), x = conv(given, {.channels = 16, .bias = false});
        const Tensor active = relu(batch_norm(x));
        Tensor y = conv(active, {.channels = 16});
        if (adds_) y = add(y, x);
        const std::vector<Tensor> kept = read_twice_ ? std::vector{y, active} : std::vector{y};
        Parameters parameters;
        Compiled made = compile(graph, context_, parameters, {.bf16 = true, .keep = kept});
        initialise(context_, parameters, 5);
        for (const std::string name : {"batch_norm_0.bias", "batch_norm_0.running_mean"})
            for (std::int64_t c = 0; c < 16; ++c)
                parameters.value(parameters.find(name))[c] = 0.1f * static_cast<float>(c - 7);
        const Backend& device = context_.backend();
        parameters.place(device, context_.stream(), false);
        const Buffer input = made[given], output = made[y];
        for (const Call& call : made.program.calls()) applied_ += call.kind == "batch norm forward";
        Plan plan(context_, made.program);
        std::vector<float> values(static_cast<std::size_t>(shape.elements()));
        std::mt19937 random(2);
        for (float& value : values) value = std::normal_distribution<float>()(random);
        const auto bytes = static_cast<std::int64_t>(values.size() * sizeof(float));
        const DeviceMemory memory(device, bytes);
        device.copy_to_device(context_.stream(), values.data(), memory.data(), bytes);
        device.synchronise(context_.stream());
        plan.bind(input, memory.data());
        plan.run();
        plan.read(output, values.data());
        return values;
    }
    int applied() const { return applied_; }

  private:
    Context context_;
    bool adds_, read_twice_;
    int applied_ = 0;
};

// By running statistics too. Where the sum's other summand is what is normalised, neighbours are read of it to the end:
// the result must not take its place.
TEST(FusedNormalisation, OfAPredictionIsAppliedOnTheWayUnlessOthersReadIt) {
    const Backend passes = apart();
    for (const bool adds : {false, true})
        for (const bool read_twice : {false, true}) {
            OneConvolution fused(simt::backend(), adds, read_twice), unfused(passes, adds, read_twice);
            EXPECT_EQ(fused.run(), unfused.run());
            EXPECT_EQ(fused.applied(), read_twice ? 1 : 0);
            EXPECT_EQ(unfused.applied(), 1);
        }
}

}  // namespace
}  // namespace iwseg

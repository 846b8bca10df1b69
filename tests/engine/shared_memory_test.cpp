// Networks whose results are computed in place of what is read no more, and where a concatenation wants them, beside
// the same with memory of its own for each: the same bytes, as no arithmetic is another.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "engine/compile.h"
#include "engine/device_memory.h"
#include "engine/graph.h"
#include "engine/initialisation.h"
#include "engine/ops/add.h"
#include "engine/ops/concat.h"
#include "engine/ops/conv.h"
#include "engine/ops/instance_norm.h"
#include "engine/ops/max_pool.h"
#include "engine/ops/relu.h"
#include "engine/ops/sigmoid.h"
#include "engine/ops/transposed_conv.h"
#include "engine/plan.h"
#include "losses/loss.h"
#include "losses/loss_operation.h"
#include "models/plain_unet.h"
#include "models/residual_encoder_unet.h"
#include "tests/support/apart.h"
#include "tests/support/backends.h"

namespace iwseg {
namespace {

/// A network of two levels with skip connections, drawn; each time the same of one seed.
class DrawnNetwork {
  public:
    DrawnNetwork(unsigned seed, Tensor image) : random_(seed), x_{image} {
        for (int i = 0; i < 3; ++i) step();
        const Tensor skip = x_.back();
        x_.push_back(max_pool(x_.back()));
        for (int i = 0; i < 2; ++i) step();
        const Tensor above = transposed_conv(x_.back(), {.channels = channels(), .kernel = 2, .name = "above"});
        x_ = {concat(chance() ? std::vector<Tensor>{above, skip} : std::vector<Tensor>{skip, above})};
        if (below(3) == 0) x_.push_back(skip);  // which is read by others too
        for (int i = 0; i < 3; ++i) step();
        const Tensor logits = conv(x_.back(), {.channels = 2, .kernel = 1, .name = "last"}),
                     second = conv(x_.back(), {.channels = 3, .kernel = 1, .name = "second"});
        result = concat({logits, sigmoid(second)});
        kept = {result};
        if (chance()) kept.push_back(logits);
        if (chance()) kept.push_back(x_[static_cast<std::size_t>(below(static_cast<int>(x_.size())))]);
    }
    Tensor result;
    std::vector<Tensor> kept;

  private:
    int below(int n) { return std::uniform_int_distribution<int>(0, n - 1)(random_); }
    bool chance() { return below(2) == 0; }
    int channels() { return below(3) == 0 ? 5 + below(20) : 16 * (1 + below(2)); }
    Tensor drawn() {  // of the last one's size
        const Tensor x = x_[static_cast<std::size_t>(below(static_cast<int>(x_.size())))];
        const Shape a = x.shape(), b = x_.back().shape();
        return a.d == b.d && a.h == b.h && a.w == b.w ? x : x_.back();
    }
    void step() {
        const Tensor x = drawn();
        const std::string name = "conv_" + std::to_string(number_++);
        switch (below(5)) {
            case 0:
                x_.push_back(concat(drawn(), x));  // here and there of one tensor twice, or of the image
                break;
            case 1:
                if (const Tensor y = conv(x, {.channels = static_cast<int>(x.shape().c), .name = name}); chance())
                    x_.push_back(leaky_relu(add(instance_norm(y, {.name = name + ".norm"}), x)));
                else
                    x_.push_back(add(y, x));
                break;
            default: {
                Tensor y = conv(x, {.channels = channels(), .kernel = chance() ? 3 : 1, .name = name});
                if (chance()) y = instance_norm(y, {.name = name + ".norm"});
                x_.push_back(chance() ? leaky_relu(y) : y);
            }
        }
    }

    std::mt19937 random_;
    std::vector<Tensor> x_;
    int number_ = 0;
};

void expect_same(const std::vector<float>& a, const std::vector<float>& b) {
    ASSERT_EQ(a.size(), b.size());
    int different = 0;
    double most = 0;
    for (std::size_t i = 0; i < a.size(); ++i)
        if (a[i] != b[i]) ++different, most = std::max(most, std::abs(static_cast<double>(a[i]) - b[i]));
    EXPECT_EQ(different, 0) << "of " << a.size() << " elements, by up to " << most;
}

class SharedMemory : public testing::TestWithParam<TestBackend> {
  protected:
    void SetUp() override {
        IWSEG_SKIP_WITHOUT_DEVICE(GetParam());
        context_.emplace(backend_of(GetParam()), ContextOptions{.threads = 2});
    }
    bool on_cpu() const { return GetParam() == TestBackend::cpu; }

    struct Ran {
        std::vector<std::vector<float>> kept;
        std::vector<float> gradients;
        int parts = 0;  ///< that are computed where a concatenation wants them
    };
    struct Case {
        unsigned seed = 0;
        Shape shape;
        bool bf16 = false, training = false;
        std::optional<Layout> layout = {};
    };
    Ran run(const Case& one, bool shares) {
        const Backend& device = context_->backend();
        const DeviceMemory image(device, one.shape.elements() * 4), target(device, one.shape.voxels() * one.shape.n);
        std::mt19937 random(one.seed);
        std::vector<float> values(static_cast<std::size_t>(one.shape.elements()));
        for (float& value : values) value = std::normal_distribution<float>()(random);
        std::vector<std::uint8_t> truth(static_cast<std::size_t>(target.bytes()));
        for (std::size_t v = 0; v < truth.size(); ++v) truth[v] = v % 3 == 0;
        device.copy_to_device(context_->stream(), values.data(), image.data(), image.bytes());
        device.copy_to_device(context_->stream(), truth.data(), target.data(), target.bytes());
        device.synchronise(context_->stream());
        const auto targets = std::make_shared<LossTargets>();
        targets->target = reinterpret_cast<const std::uint8_t*>(target.data());
        Graph graph;
        const Tensor input = graph.input("image", one.shape);
        const DrawnNetwork network(one.seed, input);
        CompileOptions options{
            .training = one.training, .bf16 = one.bf16, .layout = one.layout, .keep = network.kept, .minimise = {}};
        if (one.training)
            options.minimise = {loss(conv(network.result, {.channels = 1, .kernel = 1, .name = "of_loss"}),
                                     loss_from_name("bce"), targets)};
        Parameters parameters;
        Compiled made = compile(graph, *context_, parameters, options);
        parameters.place(device, context_->stream(), one.training);
        initialise(*context_, parameters, one.seed);
        const Buffer bound = made[input];
        Plan plan(*context_, shares ? made.program : apart(made.program));
        plan.bind(bound, image.data());
        for (int i = 0; i < 2; ++i) plan.run();  // the second time memory holds what the first has left
        Ran ran;
        for (const Tensor tensor : network.kept) {
            ran.kept.emplace_back(static_cast<std::size_t>(tensor.shape().elements()));
            plan.read(made[tensor], ran.kept.back().data());
        }
        if (one.training) {
            parameters.download();
            ran.gradients = parameters.gradients();
        }
        for (const Placement& placement : plan.placements()) ran.parts += placement.whole >= 0;
        return ran;
    }
    /// Compares both. Returns how many parts there were.
    int compare(const Case& one) {
        SCOPED_TRACE("network " + std::to_string(one.seed) + (one.bf16 ? ", bf16" : "") +
                     (one.training ? ", training" : ""));
        const Ran shared = run(one, true), alone = run(one, false);
        for (std::size_t k = 0; k < shared.kept.size(); ++k) expect_same(shared.kept[k], alone.kept[k]);
        expect_same(shared.gradients, alone.gradients);
        return shared.parts;
    }

    std::optional<Context> context_;
};

TEST_P(SharedMemory, DrawnNetworksGiveTheSameBytesInIt) {
    const unsigned seed = std::random_device{}();
    std::vector<std::optional<Layout>> layouts{std::nullopt};
    if (on_cpu()) layouts = {Layout::blocked16, Layout::blocked8, Layout::ncdhw};
    int parts = 0;
    for (unsigned i = 0; i < (on_cpu() ? 16u : 3u); ++i)
        for (const auto& layout : layouts)
            for (const bool bf16 : {false, true}) {
                if (bf16 && layout == Layout::ncdhw) continue;
                const bool small = !on_cpu();
                parts += compare({.seed = seed + i,
                                  .shape = {1, 1, small ? 2 : 4, 4, i % 2 ? 6 : 8},
                                  .bf16 = bf16,
                                  .layout = layout});
            }
    EXPECT_GT(parts, 0);
}

TEST_P(SharedMemory, TrainingGivesTheSameGradientsInIt) {
    const unsigned seed = std::random_device{}();
    for (unsigned i = 0; i < (on_cpu() ? 8u : 1u); ++i)
        for (const std::int64_t batch : {1, 2})
            compare({.seed = seed + i, .shape = {batch, 1, 2, 4, 6}, .training = true});
}

TEST_P(SharedMemory, PartsOfABatchOfTwoAreCopied) {
    const unsigned seed = std::random_device{}();
    for (unsigned i = 0; i < 2; ++i) EXPECT_EQ(compare({.seed = seed + i, .shape = {2, 1, 2, 4, 6}}), 0);
}

/// Bytes of the arena of a U-Net of two levels of 16 channels whose patch is 32^3.
std::int64_t unet_bytes(bool residual, std::int64_t batch) {
    Context context({.device = "cpu", .threads = 1});
    const std::vector<int> widths{16, 16};
    const Network network = residual ? residual_encoder_unet({.widths = widths}) : plain_unet({.widths = widths});
    Graph graph;
    const Tensor image = graph.input("image", {batch, 1, 32, 32, 32});
    Parameters parameters;
    return Plan::bytes_needed(compile(graph, context, parameters, {.keep = {network.build(image)}}).program);
}

// Scratch of a convolution beside it is less than a tensor, which copies of the parts would take.
TEST(UnetMemory, IsAConcatenationAndAResult) {
    constexpr std::int64_t kTensor = 16 * 32 * 32 * 32 * 4;
    for (const bool residual : {false, true}) {
        EXPECT_GE(unet_bytes(residual, 1), 3 * kTensor);
        EXPECT_LT(unet_bytes(residual, 1), 4 * kTensor);
        EXPECT_GE(unet_bytes(residual, 2), 8 * kTensor) << "parts of a batch are copied";
    }
}

INSTANTIATE_TEST_SUITE_P(On, SharedMemory, testing::Values(TestBackend::cpu, TestBackend::simt, TestBackend::cuda),
                         [](const auto& backend) { return name_of(backend.param); });

}  // namespace
}  // namespace iwseg

// The narrow networks of the original implementation: logits, losses, gradients and five steps of training.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <filesystem>
#include <optional>

#include "engine/compile.h"
#include "engine/graph.h"
#include "engine/safetensors.h"
#include "kernels/components/inverse_weights.h"
#include "models/grid_prediction.h"
#include "models/unet.h"
#include "tests/support/backends.h"
#include "tests/support/compare.h"
#include "tests/support/golden.h"
#include "training/session.h"

namespace iwseg {
namespace {

using Tensors = std::map<std::string, StoredTensor>;

struct Narrow {
    std::string name;
    UnetOptions network;
    TestBackend backend = TestBackend::cpu;
};

std::ostream& operator<<(std::ostream& out, const Narrow& n) {
    return out << n.name << " on " << name_of(n.backend);
}

class GoldenUnet : public testing::TestWithParam<Narrow> {
  protected:
    void SetUp() override {
        IWSEG_SKIP_WITHOUT_DEVICE(GetParam().backend);
        context_ = std::make_unique<Context>(backend_of(GetParam().backend), ContextOptions{});
        const std::filesystem::path file = golden_file(GetParam().name + ".golden.safetensors");
        if (!std::filesystem::exists(file)) GTEST_SKIP() << "needs ../shared/golden";
        golden_ = read_safetensors(file);
        const StoredTensor& x = golden_.at("x");
        shape_ = {x.shape[0], x.shape[1], x.shape[2], x.shape[3], x.shape[4]};
        batch_.shape = shape_;
        batch_.image = x.as_f32();
        for (const std::int32_t t : golden_.at("target").as_i32())
            batch_.target.push_back(static_cast<std::uint8_t>(t));
        batch_.labels = golden_.at("cc").as_i32();
        batch_.stride = 1 + *std::max_element(batch_.labels.begin(), batch_.labels.end());
        batch_.weights.resize(static_cast<std::size_t>(shape_.n * batch_.stride));
        cpu::inverse_weight_table({}, {batch_.labels.data(), {shape_.n, 1, shape_.d, shape_.h, shape_.w}, Type::i32},
                                  batch_.weights.data(), batch_.stride, {});
    }

    std::unique_ptr<TrainingSession> session(const std::string& loss) {
        parameters_ = std::make_unique<Parameters>();
        TrainingOptions options;
        options.network = unet(GetParam().network);
        options.loss = loss_from_name(loss);
        options.input = shape_;
        auto made = std::make_unique<TrainingSession>(*context_, *parameters_, options);
        parameters_->load(golden_file(GetParam().name + ".weights.safetensors"));
        return made;
    }

    std::unique_ptr<Context> context_;
    Tensors golden_;
    Shape shape_;
    Batch batch_;
    std::unique_ptr<Parameters> parameters_;
};

// float32 sums of up to 10^5 products in another order than PyTorch's: 1e-4 of the largest logit.
TEST_P(GoldenUnet, EvaluationLogitsEqualTheOriginals) {
    Parameters parameters;
    const Backend& device = context_->backend();
    Graph graph;
    const Tensor seen = graph.input("image", shape_), logits = unet(seen, GetParam().network);
    Compiled made = compile(graph, *context_, parameters, {.keep = {logits}});
    const Buffer image = made[seen], logit = made[logits];
    parameters.load(golden_file(GetParam().name + ".weights.safetensors"));
    parameters.place(device, context_->stream(), false);
    Plan plan(*context_, made.program);
    const auto bytes = static_cast<std::int64_t>(batch_.image.size() * sizeof(float));
    const DeviceMemory memory(device, bytes);
    device.copy_to_device(context_->stream(), batch_.image.data(), memory.data(), bytes);
    plan.bind(image, memory.data());
    std::vector<float> computed(static_cast<std::size_t>(shape_.n * shape_.voxels()));
    for (int run = 0; run < 3; ++run) {  // on a GPU: queued one by one, recorded, replayed
        plan.run();
        plan.read(logit, computed.data());
        EXPECT_LT(largest_difference(computed.data(), golden_.at("logit.eval").as_f32()), 1e-4);
    }
}

TEST_P(GoldenUnet, TrainingLogitsLossesAndTheirGradientsEqualTheOriginals) {
    for (const std::string& loss : loss_names()) {
        // The executor takes seconds a step; every loss alone is in loss_kernel_test.
        if (on_the_executor(GetParam().backend) && loss != "iwdl" && loss != "fl") continue;
        SCOPED_TRACE(loss);
        const simt::Unwatched of_another_loss_than_the_gradients_below;
        const auto made = session(loss);
        const double value = made->step(batch_, 0.0f);
        EXPECT_LT(largest_difference(made->logits().data(), golden_.at("logit.train").as_f32()), 1e-4);
        // The loss of logits that differ by 1e-5 or so differs by no more; the loss kernels alone are held to 1e-6.
        const double expected = stored_double(golden_.at(loss + ".loss"));
        EXPECT_NEAR(value, expected, 1e-5 * std::abs(expected));
    }
}

// The goldens' own L.grad.* are those of the fifth step, where rounding has already spread (below). These were computed
// at the first step in double precision by ../shared/reference/unet_torch.py, whose logits equal the original's.
TEST_P(GoldenUnet, ParameterGradientsEqualThoseInDoublePrecision) {
    const Tensors gradients = read_safetensors(kept_golden(GetParam().name + ".gradients.safetensors"));
    for (const std::string loss : {"iwdl", "iwbce"}) {
        SCOPED_TRACE(loss);
        if (!gradients.contains(loss + ".grad.2.2.bias")) continue;
        const auto made = session(loss);
        made->step(batch_, 0.0f);
        parameters_->download();
        float largest = 0;
        for (const auto& [name, tensor] : gradients)
            if (name.starts_with(loss))
                for (const float g : tensor.as_f32()) largest = std::max(largest, std::abs(g));
        int compared = 0;
        double squares = 0, squares_off = 0;
        for (int i = 0; i < parameters_->size(); ++i) {
            const Parameter& parameter = (*parameters_)[{i}];
            if (!parameter.learned) continue;
            const std::vector<float> expected = gradients.at(loss + ".grad." + parameter.name).as_f32();
            float own = 0, difference = 0;
            for (std::size_t k = 0; k < expected.size(); ++k) {
                const float off = std::abs(parameters_->gradient({i})[k] - expected[k]);
                own = std::max(own, std::abs(expected[k]));
                difference = std::max(difference, off);
                squares += static_cast<double>(expected[k]) * expected[k];
                squares_off += static_cast<double>(off) * off;
            }
            // A gradient that is zero by cancellation, as of a bias before a BatchNorm, is compared with the network's
            // largest; the others with their own largest. A number within rounding of zero passes its ReLU or not: in
            // unet_two_channel one of up_path.0.0 does, which moves the arrays before it by up to 7e-3.
            EXPECT_LT(difference, 1e-2f * std::max(own, 1e-3f * largest)) << parameter.name;
            ++compared;
        }
        EXPECT_LT(std::sqrt(squares_off / squares), 3e-3);  // 1.1e-3 there, below 1e-4 elsewhere
        EXPECT_GE(compared, 120);                           // every array of the network: none is left out
    }
}

// Training amplifies rounding: in unet_narrow, PyTorch in double precision is 1e-7 from the goldens at the second step,
// 1e-3 at the fourth and 7e-3 at the fifth; PyTorch in float32 4e-4. In unet_two_channel it depends on the instruction
// set whether the ReLU named above is passed: if as in the goldens, losses hold to 1e-4, as on the executor; if not,
// they are 1.4e-4 away at the second step and 7e-3 at the fifth.
TEST_P(GoldenUnet, FiveStepsFollowTheOriginals) {
    const bool chaotic = GetParam().name == "unet_narrow" || GetParam().backend != TestBackend::simt;
    for (const std::string loss : {"iwdl", "iwbce"}) {
        if (chaotic && GetParam().backend == TestBackend::simt && loss != "iwdl") continue;  // the executor is slow
        SCOPED_TRACE(loss);
        const simt::Unwatched five_times_what_was_looked_at;
        const auto made = session(loss);
        const std::vector<float> expected = golden_.at(loss + ".trajectory").as_f32();
        constexpr std::array allowed{1e-5, 5e-4, 2e-2, 2e-2, 2e-2};
        ASSERT_EQ(expected.size(), allowed.size());
        for (std::size_t i = 0; i < expected.size(); ++i)
            EXPECT_NEAR(made->step(batch_, 1e-2f), expected[i], (chaotic ? allowed[i] : 1e-4) * std::abs(expected[i]));
        parameters_->download();
        for (const auto& [name, tensor] : golden_) {
            const std::string start = loss + ".after5.";
            if (!name.starts_with(start) || name.ends_with("num_batches_tracked")) continue;
            const std::string of = name.substr(start.size());
            EXPECT_LT(largest_difference(parameters_->value(parameters_->find(of)), tensor.as_f32()),
                      chaotic ? 1e-1 : 5e-3)
                << of;
        }
    }
}

TEST_P(GoldenUnet, StepsOfOneSeedHaveTheSameBytesOnAnyNumberOfThreads) {
    const bool simt = GetParam().backend == TestBackend::simt;
    if (simt && GetParam().name != "unet_two_channel") GTEST_SKIP() << "the executor is slow: one network is enough";
    std::vector<std::vector<float>> ends;
    for (const int threads : simt ? std::vector{1, 2} : std::vector{1, 2, 3}) {
        ContextOptions options;
        options.threads = threads;
        simt::schedule_by(simt ? static_cast<std::uint64_t>(threads - 1) : 0);  // there: in order, and at random
        context_ = std::make_unique<Context>(backend_of(GetParam().backend), options);
        const auto made = session("iwdl");
        for (int i = 0; i < (simt ? 1 : 3); ++i) made->step(batch_, 1e-2f);
        parameters_->download();
        ends.push_back(parameters_->values());
        parameters_.reset();
    }
    simt::schedule_by(0);
    context_ = std::make_unique<Context>(cpu::backend(), ContextOptions{});  // as many threads as before
    for (const std::vector<float>& end : ends) EXPECT_EQ(end, ends[0]);
}

std::vector<Narrow> networks() {
    std::vector<Narrow> all;
    for (const TestBackend backend : {TestBackend::cpu, TestBackend::simt, TestBackend::cuda}) {
        all.push_back({"unet_narrow", {1, 1, {4, 8, 12, 16}}, backend});
        all.push_back({"unet_two_channel", {2, 1, {4, 4, 8, 8}}, backend});
    }
    return all;
}

INSTANTIATE_TEST_SUITE_P(Narrow, GoldenUnet, testing::ValuesIn(networks()),
                         [](const auto& narrow) { return narrow.param.name + "_" + name_of(narrow.param.backend); });

class GoldenGrid : public testing::TestWithParam<TestBackend> {};

TEST_P(GoldenGrid, WholeScansOfOddShapesEqualTheOriginals) {
    IWSEG_SKIP_WITHOUT_DEVICE(GetParam());
    const auto file = golden_file("sliding_window.golden.safetensors");
    if (!std::filesystem::exists(file)) GTEST_SKIP() << "needs ../shared/golden";
    const Tensors golden = read_safetensors(file);
    const auto weights = golden_file("sliding_window.weights.safetensors");
    Context context(backend_of(GetParam()), {});
    for (const std::string scan : {"a", "b", "c"}) {
        SCOPED_TRACE(scan);
        std::optional<simt::Unwatched> as_the_first;
        if (scan != "a") as_the_first.emplace();
        const StoredTensor& x = golden.at(scan + ".x");
        const std::vector<std::int32_t> grid = golden.at(scan + ".patch_stride").as_i32();
        Parameters parameters;
        GridPredictor predictor(context, parameters, unet_of_weights(weights), {grid[0], grid[1]});
        parameters.load(weights);
        const std::vector<float> image = x.as_f32();
        const Prediction prediction = predictor.predict(image.data(), x.shape[1], x.shape[2], x.shape[3]);
        EXPECT_LT(largest_difference(prediction.logit.data(), golden.at(scan + ".logit").as_f32()), 1e-4);
    }
}

INSTANTIATE_TEST_SUITE_P(Backends, GoldenGrid, testing::Values(TestBackend::cpu, TestBackend::simt, TestBackend::cuda),
                         [](const auto& backend) { return name_of(backend.param); });

}  // namespace
}  // namespace iwseg

// Plans that are recorded and replayed against plans whose steps are queued one by one: whole trainings and predictions
// leave the same bytes, and what fails while work is recorded leaves the device usable.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "apps/config/config.h"
#include "apps/training/training_run.h"
#include "base/atomic_file.h"
#include "data/phantom.h"
#include "engine/device_memory.h"
#include "engine/initialisation.h"
#include "engine/plan.h"
#include "models/grid_prediction.h"
#include "models/unet.h"
#include "tests/simt/simt_recording.h"
#include "tests/support/backends.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

class Recording : public testing::TestWithParam<TestBackend> {
  protected:
    Recording() : seed_(std::random_device{}()), trace_(__FILE__, __LINE__, "seed " + std::to_string(seed_)) {}
    void SetUp() override { IWSEG_SKIP_WITHOUT_DEVICE(GetParam()); }
    void TearDown() override {
        simt::schedule_by(0);
        fs::remove_all(folder_);
    }

    std::unique_ptr<Context> context(bool record) const {
        return std::make_unique<Context>(backend_of(GetParam()), ContextOptions{.threads = 1, .record = record});
    }
    /// Calls body, and says how often something was replayed meanwhile; unknown on a GPU, where it is -1.
    template <class Body>
    std::int64_t replays_in(Body&& body) const {
        const std::int64_t before = simt::executor::recording_count().replays;
        body();
        return GetParam() == TestBackend::simt ? simt::executor::recording_count().replays - before : -1;
    }

    unsigned seed_;
    fs::path folder_ = fs::path(testing::TempDir()) / ("recording_" + std::to_string(getpid()));
    testing::ScopedTrace trace_;
};

/// Losses and validation passes of a training, without what a clock says.
std::string log_of(const RunFolder& run) {
    std::istringstream lines(read_text(run.log()));
    std::string kept;
    for (std::string line; std::getline(lines, line);) {
        auto entry = nlohmann::json::parse(line);
        for (const char* key : {"seconds", "wait"}) entry.erase(key);
        if (entry.contains("validation")) entry["validation"].erase("seconds");
        kept += entry.dump() + "\n";
    }
    return kept;
}

// Six steps with a checkpoint's validation in between, from scans that lie on the device; in bf16, too, whose weights
// are packed within a step.
TEST_P(Recording, TrainingsLeaveTheSameBytesRecordedAndNot) {
    write_phantom_dataset({folder_ / "data", 4, 32, seed_, 1});
    for (const std::vector<std::string>& settings :
         {std::vector<std::string>{"loss=iwdl", "components=patch", "nesterov=true"},
          std::vector<std::string>{"loss=dice + ce", "precision=bf16", "weight_decay=0.01"}}) {
        SCOPED_TRACE(settings[0]);
        std::vector<std::string> all{"widths=[2,3,8,8]",
                                     "patch=[16,8,8]",
                                     "epochs=2",
                                     "steps_per_epoch=3",
                                     "predict.patch=16",
                                     "predict.stride=16",
                                     "validate_share=1",
                                     "workers=1",
                                     "learning_rate=0.1",
                                     "split.train=[\"phantom_000\", \"phantom_001\"]",
                                     "split.validation=[\"phantom_002\"]",
                                     "split.test=[\"phantom_003\"]"};
        all.insert(all.end(), settings.begin(), settings.end());
        const Config config = resolve_config(std::nullopt, all);
        std::string logs[2], weights[2];
        for (const bool record : {false, true}) {
            const RunFolder run(folder_ / (settings[0] + (record ? "_recorded" : "_not")));
            simt::schedule_by(record ? seed_ : 0);
            const auto device = context(record);
            const std::int64_t replays = replays_in([&] { train(*device, config, folder_ / "data", run); });
            if (replays >= 0) {
                EXPECT_EQ(replays > 0, record);
                EXPECT_TRUE(!record || replays >= 5) << replays << ": all steps but the first";
            }
            logs[record] = log_of(run);
            weights[record] = read_text(run.model());
        }
        EXPECT_EQ(logs[0], logs[1]);
        EXPECT_TRUE(weights[0] == weights[1]);
        EXPECT_NO_THROW(simt::check_sentinels());
    }
}

TEST_P(Recording, PredictionsHaveTheSameBytesRecordedAndNot) {
    std::mt19937 random(seed_);
    const auto below = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
    const Network network = unet({2, 1, {2, 3, 8, 8}});
    for (const bool bf16 : {false, true}) {
        std::vector<std::array<std::int64_t, 3>> scans{{1, 1, 1}};
        for (int i = 0; i < 2; ++i) scans.push_back({below(5, 30), below(5, 30), below(5, 20)});
        std::vector<std::vector<float>> images;
        for (const auto& [d, h, w] : scans) {
            images.emplace_back(static_cast<std::size_t>(2 * d * h * w));
            for (float& value : images.back()) value = std::normal_distribution<float>()(random);
        }
        std::vector<std::vector<float>> results[2];
        for (const bool record : {false, true}) {
            const auto device = context(record);
            Parameters parameters;
            GridPredictor predictor(*device, parameters, network, {13, 9, bf16});
            initialise(*device, parameters, seed_);
            const std::int64_t replays = replays_in([&] {
                for (std::size_t i = 0; i < scans.size(); ++i) {
                    const Prediction made = predictor.predict(images[i].data(), scans[i][0], scans[i][1], scans[i][2]);
                    results[record].push_back(made.logit);
                    results[record].push_back(made.probability);
                }
            });
            if (replays >= 0) {
                EXPECT_EQ(replays > 0, record);
            }
        }
        EXPECT_TRUE(results[0] == results[1]);
    }
}

// ----------------------------------------------------------------------------------------------------------------------

/// A program that adds up what an external tensor holds, and then calls `last`.
struct Adding {
    explicit Adding(std::function<void(const Plan&)> last) {
        external = program.add(BufferSpec{.name = "from", .shape = kShape, .external = true});
        sum = program.add(BufferSpec{.name = "to", .shape = kShape, .external = true});
        program.add({"sum", "", {external, sum}, {sum}, [this](const Plan& plan) {
                         device->add(stream, plan[external], plan[sum]);
                     }});
        program.add({"last step", "", {sum}, {sum}, std::move(last)});
    }
    void use(const Context& context) {
        device = &context.backend();
        stream = context.stream();
    }

    static constexpr Shape kShape{1, 1, 1, 1, 64};
    Program program;
    Buffer external, sum;
    const Backend* device = nullptr;
    Stream stream;
};

/// Its plan's two tensors, ones and zeros.
struct AddedNumbers {
    explicit AddedNumbers(const Context& c) : context(c), ones(c.backend(), 256), sum(c.backend(), 256) {
        const std::vector<float> numbers(64, 1.0f);
        context.backend().copy_to_device(context.stream(), numbers.data(), ones.data(), 256);
        context.backend().set_zero(context.stream(), sum.data(), 256);
        context.backend().synchronise(context.stream());
    }
    float value() const {
        float got = 0;
        context.backend().copy_to_host(context.stream(), sum.data(), &got, 4);
        context.backend().synchronise(context.stream());
        return got;
    }

    const Context& context;
    DeviceMemory ones, sum;
};

TEST_P(Recording, AStepThatFailsWhileItIsRecordedLeavesTheStreamUsable) {
    const auto device = context(true);
    bool fails = false;
    Adding adding([&](const Plan&) {
        if (fails) throw std::runtime_error("no more");
    });
    adding.use(*device);
    const AddedNumbers numbers(*device);
    Plan plan(*device, adding.program);
    plan.bind(adding.external, numbers.ones.data());
    plan.bind(adding.sum, numbers.sum.data());
    plan.run();
    EXPECT_EQ(numbers.value(), 1);
    for (int times = 0; times < 2; ++times) {
        fails = true;
        EXPECT_THROW(plan.run(), std::runtime_error);
        EXPECT_EQ(numbers.value(), 1) << "nothing was recorded, nothing was done";
    }
    fails = false;
    plan.run();
    plan.run();
    EXPECT_EQ(numbers.value(), 3);
}

TEST_P(Recording, AStepThatWaitsForTheDeviceCannotBeRecorded) {
    for (const bool record : {false, true}) {
        const auto device = context(record);
        Adding adding([&](const Plan&) { device->backend().synchronise(device->stream()); });
        adding.use(*device);
        const AddedNumbers numbers(*device);
        Plan plan(*device, adding.program);
        plan.bind(adding.external, numbers.ones.data());
        plan.bind(adding.sum, numbers.sum.data());
        plan.run();
        if (record)
            EXPECT_ANY_THROW(plan.run());
        else
            EXPECT_NO_THROW(plan.run());
        EXPECT_EQ(numbers.value(), record ? 1 : 2);
    }
}

INSTANTIATE_TEST_SUITE_P(On, Recording, testing::Values(TestBackend::simt, TestBackend::cuda),
                         [](const auto& backend) { return name_of(backend.param); });

}  // namespace
}  // namespace iwseg

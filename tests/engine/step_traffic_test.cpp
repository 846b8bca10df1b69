// What goes to a device and how many kernels run there: of a prediction and of a training step, counted on the
// executor.
#define IWSEG_SIMT
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "base/bytes.h"
#include "engine/initialisation.h"
#include "models/grid_prediction.h"
#include "models/unet.h"
#include "tests/simt/simt.h"
#include "tests/simt/simt_backend.h"
#include "training/session.h"

namespace iwseg {
namespace {

/// The executor's kernels, with what is copied to its device counted.
struct Counted {
    Counted() {
        bytes = 0;
        table.copy_to_device = [](Stream stream, const void* from, void* to, std::int64_t count) {
            bytes += count;
            simt::copy_to_device(stream, from, to, count);
        };
    }
    Backend table = simt::backend();
    static inline std::int64_t bytes = 0;
};

TEST(PredictionTraffic, OnlyTheScanIsCopiedToTheDevice) {
    Counted counted;
    Context context(counted.table, {});
    Parameters parameters;
    GridPredictor predictor(context, parameters, unet({1, 1, {4, 4, 8, 8}}), {8, 8});
    initialise(context, parameters, 1);
    std::mt19937 random(std::random_device{}());
    std::vector<float> scan(9 * 8 * 11);
    for (float& value : scan) value = std::normal_distribution<float>()(random);
    predictor.predict(scan.data(), 9, 8, 11);  // parameters are copied once
    counted.bytes = 0;
    predictor.predict(scan.data(), 9, 8, 11);
    EXPECT_EQ(counted.bytes, static_cast<std::int64_t>(scan.size() * sizeof(float)));
}

/// A training step on the executor, of which steps are run one by one.
struct TrainingStep {
    explicit TrainingStep(bool bf16, const Backend& backend = simt::backend()) : context(backend, {}) {
        TrainingOptions options;
        options.network = unet({1, 1, {8, 16, 16, 24}});
        options.loss = loss_from_name("iwdl");
        options.bf16 = bf16;
        options.input = {2, 1, 8, 8, 8};
        session = std::make_unique<TrainingSession>(context, parameters, options);
        initialise(context, parameters, 1);
        batch.shape = options.input;
        batch.image.assign(2 * 512, 0.5f);
        batch.target.assign(2 * 512, 0);
        batch.labels.assign(2 * 512, 0);
        batch.stride = 1;
        batch.weights.assign(2, 1.0f);
        session->bind(batch, 1e-2f);
    }

    Context context;
    Parameters parameters;
    std::unique_ptr<TrainingSession> session;
    Batch batch;
};

// The image in the network's precision, a byte of target and two of labels a voxel; beside them a rate, and the weights
// of 1024 labels a sample.
TEST(StepTraffic, ABatchIsCopiedInTheFewestBytesThatHoldIt) {
    for (const bool bf16 : {false, true}) {
        Counted counted;
        TrainingStep one(bf16, counted.table);
        counted.bytes = 0;
        one.session->bind(one.batch, 1e-2f);
        constexpr std::int64_t kLabels = 512 + 1;  // as many as a patch can hold
        EXPECT_EQ(counted.bytes, 256 + 1024 * ((bf16 ? 2 : 4) + 1 + 2) + aligned(2 * kLabels * 4));
    }
}

TEST(StepTraffic, NothingIsCopiedForAResidualSum) {
    for (const bool bf16 : {false, true}) {
        TrainingStep one(bf16);
        int sums = 0;
        for (const Call& call : one.session->plan().calls()) {
            EXPECT_FALSE(call.copies_only && call.run) << call.name;
            sums += call.name.ends_with("summand gradient");
        }
        EXPECT_EQ(sums, 19);  // of 16 residual blocks and three skips
    }
}

// A convolution is as many as its implementation needs, and is measured on a GPU.
TEST(StepTraffic, AStepOutsideConvolutionsIsOneLaunch) {
    TrainingStep one(true);
    one.session->step(one.batch, 1e-2f);  // after which everything that a step reads is written
    const Plan& plan = one.session->plan();
    for (const Call& call : plan.calls()) {
        if (!call.run || call.operations > 0) continue;
        const std::int64_t before = simt::executor::launch_count().launches;
        call.run(plan);
        const bool twice =
            call.name.ends_with("bn backward") || call.name == "2.2 backward";  // sums, then the gradient
        EXPECT_EQ(simt::executor::launch_count().launches - before, twice ? 2 : 1) << call.name;
    }
}

}  // namespace
}  // namespace iwseg

// Calls of CUDA's runtime, of cuDNN and of cuBLASLt fail, one at a time and at every place: what was under way ends in
// one sentence, or goes on to the right result; nothing is left on the card; and the same work done again is right.
#include <fmt/format.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "apps/prediction/prediction_run.h"
#include "apps/training/run_context.h"
#include "apps/training/training_run.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "data/phantom.h"
#include "engine/device_memory.h"
#include "engine/device_timer.h"
#include "engine/initialisation.h"
#include "models/unet.h"
#include "tests/cuda_host/cuda_failures.h"
#include "training/session.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

/// One of kernel 3, or one of other sides at a stride and in groups.
ConvolutionOptions convolution(bool plain) {
    ConvolutionOptions options;
    options.src = {1, 6, 3, 3, 4};
    options.dst_channels = 6;
    if (!plain) options.kernel = {1, 3, 3}, options.stride = {1, 2, 2}, options.groups = 2;
    return options;
}

/// One that is a product of matrices, where cuDNN has nothing for it.
ConvolutionOptions product() {
    ConvolutionOptions options;
    options.src = {1, 6, 4, 2, 4};
    options.dst_channels = 6;
    options.kernel = options.stride = 2, options.padded = false;
    return options;
}

/// A convolution made, its plans chosen, and its three passes run.
Values convolve(ConvolutionOptions options) {
    options.bias = true;
    options.src_layout = options.dst_layout = Layout::ndhwc;
    const Backend& device = cuda::backend();
    const Context context(device, {});
    const Stream stream = context.stream();
    const auto one = device.make_convolution(stream, options, {});
    const std::int64_t weight_count = options.weight_count();
    std::vector<float> host(static_cast<std::size_t>(std::max(weight_count, options.src.elements())));
    for (std::size_t i = 0; i < host.size(); ++i) host[i] = static_cast<float>(static_cast<int>(i * 37 % 64) - 32) / 32;
    const DeviceMemory values(device, static_cast<std::int64_t>(host.size()) * 4),
        dst(device, options.dst().elements() * 4), diff(device, weight_count * 4),
        diff_src(device, options.src.elements() * 4), scratch(device, one->scratch_bytes());
    device.copy_to_device(stream, host.data(), values.data(), values.bytes());
    float* numbers = reinterpret_cast<float*>(values.data());  // weights and source alike
    const View src{numbers, options.src, Type::f32, Layout::ndhwc},
        to{dst.data(), options.dst(), Type::f32, Layout::ndhwc};
    one->forward(stream, src, numbers, numbers, to, scratch.data());
    one->backward_data(stream, to, numbers, {diff_src.data(), options.src, Type::f32, Layout::ndhwc}, scratch.data());
    one->backward_weights(stream, src, to, reinterpret_cast<float*>(diff.data()), nullptr, scratch.data());
    Values results(static_cast<std::size_t>((dst.bytes() + diff_src.bytes() + diff.bytes()) / 4));
    float* place = results.data();
    for (const DeviceMemory* memory : {&dst, &diff_src, &diff}) {
        device.copy_to_host(stream, memory->data(), place, memory->bytes());
        place += memory->bytes() / 4;
    }
    device.synchronise(stream);
    return results;
}

TEST_F(CudaFailures, OfAConvolutionAndTheChoiceOfItsPlans) {
    testing::internal::CaptureStderr();  // plans that are left out
    for (const bool plain : {true, false})
        fail_in_turn([=] { return convolve(convolution(plain)); }, 2, standin::Failure::once, 1e-5f, Alike::by_place);
    testing::internal::GetCapturedStderr();
}

TEST_F(CudaFailures, OfAProductOfMatricesAndTheChoiceOfIt) {
    standin::offer_engines({});
    testing::internal::CaptureStderr();
    for (const standin::Failure failure :
         {standin::Failure::once, standin::Failure::memory, standin::Failure::for_good})
        fail_in_turn([] { return convolve(product()); }, 4, failure, 1e-5f);
    testing::internal::GetCapturedStderr();
    EXPECT_GT(standin::algorithm_runs()[21], 0);
}

TEST_F(CudaFailures, OfMemoryForAConvolution) {
    testing::internal::CaptureStderr();
    for (const bool plain : {true, false})
        fail_in_turn([=] { return convolve(convolution(plain)); }, 5, standin::Failure::memory, 1e-5f);
    testing::internal::GetCapturedStderr();
}

TEST_F(CudaFailures, OfACardThatIsLost) {
    testing::internal::CaptureStderr();
    for (const bool plain : {true, false})
        fail_in_turn([=] { return convolve(convolution(plain)); }, 8, standin::Failure::for_good, 1e-5f);
    testing::internal::GetCapturedStderr();
}

Batch small_batch() {
    Batch batch;
    batch.shape = {1, 1, 8, 8, 8};
    for (int i = 0; i < 512; ++i) {
        batch.image.push_back(static_cast<float>(i * 61 % 97) / 50 - 1);
        batch.target.push_back(i % 11 == 0);
        batch.labels.push_back(batch.target.back());
    }
    batch.stride = 2;
    batch.weights = {1.0f, 5.0f};
    return batch;
}

/// Three steps: queued one by one, recorded, replayed.
Values three_steps(Context& context) {
    Parameters parameters;
    TrainingOptions options;
    options.network = unet({.widths = {2, 2, 2, 2}});
    options.loss = loss_from_name("iwdl");
    options.input = small_batch().shape;
    TrainingSession session(context, parameters, options);
    initialise(context, parameters, 3);
    Values losses;
    for (int step = 0; step < 3; ++step) losses.push_back(static_cast<float>(session.step(small_batch(), 1e-2f)));
    parameters.download();
    losses.insert(losses.end(), parameters.values().begin(), parameters.values().end());
    return losses;
}

TEST_F(CudaFailures, OfATrainingWhoseContextIsUsedAgain) {
    fs::create_directories(folder_);
    Context context({.device = "cuda", .threads = 1, .plan_file = (folder_ / "plans.txt").string()});
    left_open_ = standin::alive().text();
    testing::internal::CaptureStderr();
    // A convolution whose plan was left out is computed by a direct kernel: rounding differs, through three steps.
    fail_in_turn([&] { return three_steps(context); }, 2, standin::Failure::once, 1e-3f);
    testing::internal::GetCapturedStderr();
}

TEST_F(CudaFailures, OfATrainingThatGoesOnFromItsFolder) {
    PhantomOptions phantom;
    phantom.folder = folder_ / "data";
    phantom.cases = 3;
    phantom.size = 32;
    write_phantom_dataset(phantom);
    const Config config =
        resolve_config(std::nullopt, {"widths=[2,2,2,2]", "patch=[16,8,8]", "batch=1", "epochs=2", "steps_per_epoch=2",
                                      "threads=1", "workers=1", "intensity={window=[-200,300]}", "checkpoint_every=1",
                                      "split.train=[\"phantom_000\"]", "split.validation=[]",
                                      "split.test=[\"phantom_002\"]", "validate_share=0"});
    const auto train_in = [&](const std::string& name) {
        const RunFolder run(folder_ / name);
        Context context(context_of_run(config, "cuda", run));
        train(context, config, folder_ / "data", run);
    };
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    standin::take_calls();
    train_in("whole");
    const std::vector<const char*> calls = standin::take_calls();
    const std::string expected = read_text(folder_ / "whole/model.safetensors"),
                      plans = read_text(folder_ / "whole/plans.txt");
    int thrown = 0;
    for (const std::int64_t number : chosen_calls(calls, 1)) {
        SCOPED_TRACE(
            fmt::format("call {} of {}, {}", number, calls.size(), calls[static_cast<std::size_t>(number) - 1]));
        const fs::path run = folder_ / fmt::format("broken {}", number);
        fs::create_directories(run);
        write_text(run / "plans.txt", plans);
        standin::fail_call(number);
        const std::string what = failure_of([&] { train_in(run.filename()); });
        standin::fail_call(0);
        thrown += !what.empty();
        expect_clean();
        for (const auto& entry : fs::recursive_directory_iterator(run))
            EXPECT_NE(entry.path().extension(), ".part") << entry.path();
        EXPECT_EQ(fs::exists(run / "model.safetensors"), what.empty());
        EXPECT_EQ(failure_of([&] { train_in(run.filename()); }), "");
        EXPECT_EQ(read_text(run / "model.safetensors"), expected) << what;
        fs::remove_all(run);
        if (HasFailure()) break;
    }
    EXPECT_GT(thrown, 0);
    testing::internal::GetCapturedStdout();
    testing::internal::GetCapturedStderr();
}

}  // namespace
}  // namespace iwseg

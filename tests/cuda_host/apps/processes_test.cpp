// Experiments side by side on GPUs.
#include "apps/experiments/experiment_processes.h"
#include "base/error.h"
#include "engine/context.h"
#include "tests/cuda_host/cuda_host.h"
#include "tests/support/refusal.h"

namespace iwseg {
namespace {

TEST_F(CudaHost, MoreProcessesThanGpusAreRefused) {
    const auto said = [&](int gpus, int processes, const std::string& device) {
        standin::insert_card({.cards = gpus});
        ExperimentsOptions options;
        options.out = folder_;
        options.device = device;
        options.processes = processes;
        return refusal([&] { run_in_processes(options, {}); });
    };
    for (const char* device : {"auto", "cuda"}) {
        EXPECT_EQ(said(2, 3, device),
                  "--processes 3 asks for as many GPUs, but there are 2; ask for fewer processes, or for --device cpu");
        EXPECT_EQ(said(1, 2, device),
                  "--processes 2 asks for as many GPUs, but there is 1; ask for fewer processes, or for --device cpu");
    }
    EXPECT_FALSE(std::filesystem::exists(folder_ / "processes")) << "refused before anything is started";
}

TEST_F(CudaHost, GpusAreCountedWithoutTakingTheirMemory) {
    standin::insert_card({.cards = 5});
    EXPECT_EQ(cuda::device_count(), 5);
    EXPECT_EQ(standin::bytes_used(), 0);
    standin::insert_card({.driver = 0});
    EXPECT_EQ(cuda::device_count(), 0);
}

TEST_F(CudaHost, TheCardIsChosenByAutoWhereItCanBeUsed) {
    EXPECT_STREQ(Context({"auto"}).backend().name, "cuda");
    for (const standin::CardOptions& unusable :
         {standin::CardOptions{.driver = 12080}, standin::CardOptions{.cards = 0},
          standin::CardOptions{.holds_kernels = false}}) {
        standin::insert_card(unusable);
        EXPECT_STREQ(Context({"auto"}).backend().name, "cpu");
        EXPECT_THROW(Context({"cuda"}), InputError);
    }
}

}  // namespace
}  // namespace iwseg

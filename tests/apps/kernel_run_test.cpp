#include "apps/bench/kernel_run.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "tests/support/backends.h"

namespace iwseg {
namespace {

KernelCaseOptions small(const std::string& kernel, Type type) {
    KernelCaseOptions options;
    options.kernel = kernel;
    options.shape = {2, 16, 4, 6, 8};
    options.type = type;
    options.seed = 3;
    return options;
}

/// On the processor's own layout and type, and by the CUDA source on the executor.
void expect_right(const Kernels& device, const KernelCaseOptions& options) {
    Context context(device, {});
    KernelRun run(context, options);
    run.launch();
    const std::vector<KernelDifference> differences = run.check();
    EXPECT_FALSE(differences.empty());
    for (const KernelDifference& d : differences)
        EXPECT_LE(d.largest, d.allowed) << options.kernel << ": " << d.operand;
}

TEST(KernelRun, EveryKernelAgreesWithTheCpuInEitherType) {
    for (const std::string& kernel : kernel_case_names())
        for (const Type type : {Type::f32, Type::bf16}) {
            expect_right(cpu::kernels(), small(kernel, type));
            expect_right(kernels_of(Backend::simt), small(kernel, type));
        }
}

TEST(KernelRun, ASecondCheckStartsFromTheSameState) {
    Context context(kernels_of(Backend::simt), {});
    KernelRun run(context, small("add", Type::f32));  // adds to what is there
    for (int i = 0; i < 3; ++i) run.launch();
    EXPECT_TRUE(run.check().front().right());
    EXPECT_TRUE(run.check().front().right());
}

void copy_but_one(Stream stream, View from, View to) {
    simt::copy(stream, from, to);
    to.as<float>()[5] += 1;
}

void copy_with_nan(Stream stream, View from, View to) {
    simt::copy(stream, from, to);
    to.as<float>()[to.shape.elements() - 1] = NAN;
}

TEST(KernelRun, OneWrongElementIsSeen) {
    for (const auto wrong : {copy_but_one, copy_with_nan}) {
        Kernels device = simt::kernels();
        device.copy = wrong;
        Context context(device, {});
        KernelRun run(context, small("copy", Type::f32));
        EXPECT_FALSE(run.check().front().right());
    }
}

TEST(KernelRun, AnUnknownKernelNamesTheNearest) {
    try {
        make_kernel_case(small("max_pol", Type::f32));
        FAIL();
    } catch (const InputError& error) {
        EXPECT_STREQ(error.what(), "there is no kernel max_pol; did you mean max_pool?");
    }
}

}  // namespace
}  // namespace iwseg

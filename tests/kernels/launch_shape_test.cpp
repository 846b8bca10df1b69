// How many threads kernels are launched with, counted on the executor at the network's own widths: one that finds
// nothing to do still takes a place on an SM.
#define IWSEG_SIMT
#include <gtest/gtest.h>

#include <functional>

#include "kernels/device/backend.h"
#include "tests/simt/simt.h"
#include "tests/simt/simt_backend.h"
#include "tests/support/kernel_tensor.h"

namespace iwseg {
namespace {

const Backend& device() {
    return simt::backend();
}

std::int64_t threads_of(const std::function<void()>& work) {
    const std::int64_t before = simt::executor::launch_count().threads;
    work();
    return simt::executor::launch_count().threads - before;
}

/// Zeros: what is computed is not looked at.
KernelTensor tensor(const Shape& shape, Type type) {
    return {device(), reference::Array(shape), Layout::ndhwc, type};
}

TEST(LaunchShapes, CopiesAndSumsTakeAThreadForEach16Bytes) {
    const Shape shape{2, 16, 10, 12, 14};
    for (const Type type : {Type::bf16, Type::f32}) {
        const KernelTensor from = tensor(shape, type), to = tensor(shape, type);
        const std::int64_t packs = shape.elements() * bytes_of(type) / 16, block = 256;
        EXPECT_LT(threads_of([&] { device().copy({}, from.view(), to.view()); }), packs + block);
        EXPECT_LT(threads_of([&] { device().add({}, from.view(), to.view()); }), packs + block);
    }
}

// Cells are one more than inputs along each axis; one thread takes the packs of 16 bytes of a cell's channel one by
// one. A plane's last block is not full: 128 threads at most.
TEST(LaunchShapes, UpsamplingFillsItsBlocks) {
    for (const std::int64_t channels : {16, 64}) {
        const Shape small{1, channels, 3, 64, 32}, large{1, channels, 6, 128, 64};
        const KernelTensor x = tensor(small, Type::bf16), y = tensor(large, Type::bf16);
        const std::int64_t plane = 65 * 33 * channels / 8;
        EXPECT_LE(threads_of([&] { device().upsample({}, x.view(), Corners::aligned, y.view()); }), 4 * (plane + 127));
        const std::int64_t inputs = 64 * 32 * channels / 8;
        EXPECT_LE(
            threads_of([&] { device().upsample_backward({}, y.view(), Corners::aligned, x.view(), Write::overwrite); }),
            inputs + 127);
    }
}

}  // namespace
}  // namespace iwseg

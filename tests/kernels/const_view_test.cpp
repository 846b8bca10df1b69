// What is only read cannot be written through: these are claims about types.
#include "kernels/device/const_view.h"

#include <gtest/gtest.h>

#include <array>
#include <type_traits>

#include "engine/context.h"
#include "engine/device_copy.h"
#include "tests/simt/simt_backend.h"

namespace iwseg {
namespace {

template <class Copy>
concept CopiesBack = requires(const Copy& copy) {
    copy.copy_back();
};

static_assert(std::is_convertible_v<View, ConstView> && !std::is_convertible_v<ConstView, View>);
static_assert(std::is_same_v<decltype(ConstView().as<float>()), const float*>);
static_assert(CopiesBack<DeviceCopy<float>> && !CopiesBack<DeviceCopy<const float>>);

TEST(ConstViews, AreTheViewTheyAreMadeOf) {
    std::array<float, 6> values{1, 2, 3, 4, 5, 6};
    const View view{values.data(), {1, 2, 1, 1, 3}, Type::bf16, Layout::ndhwc};
    const ConstView read = view;
    const View again = to_read(read);
    EXPECT_EQ(again.data, view.data);
    EXPECT_EQ(again.shape, view.shape);
    EXPECT_EQ(again.type, view.type);
    EXPECT_EQ(again.layout, view.layout);
}

TEST(ConstViews, ACopyOfWhatIsOnlyReadIsTheHostsMemoryOnTheCpuAndOnADeviceItsOwn) {
    const std::array<float, 3> values{1, 2, 3};
    const Context cpu({.device = "cpu", .threads = 1});
    EXPECT_EQ(DeviceCopy(cpu, values.data(), 3).data(), values.data());
    Context simt(simt::backend(), {.threads = 1});
    const DeviceCopy copy(simt, values.data(), 3);
    EXPECT_NE(copy.data(), values.data());
    std::array<float, 3> back{};
    simt.backend().copy_to_host(simt.stream(), copy.data(), back.data(), sizeof back);
    simt.backend().synchronise(simt.stream());
    EXPECT_EQ(back, values);
}

}  // namespace
}  // namespace iwseg

// The CPU's convolutions by Winograd's transforms that go slab by slab of planes, over their source or with channels
// that are made on the way: the same bytes as with all tensors whole and apart.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/thread_pool.h"
#include "tests/support/winograd_passes.h"

namespace iwseg {
namespace {

class WinogradSlabs : public WinogradConvolution {};

TEST_P(WinogradSlabs, GiveTheSameBytesOverTheSource) {
    for (int i = 0; i < 60; ++i) {
        const std::int64_t channels = below(1, 40);
        ConvolutionOptions o =
            any({1, channels, below(1, 40), below(1, 20), below(1, 20)}, below(1, static_cast<int>(channels)));
        o.epilogue = {.wanted = below(0, 1) == 1, .activation = {0.1f}};
        o.epilogue.beside = o.epilogue.wanted && (o.write == Write::accumulate || below(0, 1));
        if (!o.epilogue.beside) o.write = Write::overwrite;
        o.in_place = true;
        SCOPED_TRACE(testing::Message() << o.src.c << " to " << o.dst_channels << " channels, shape " << o.src.d << " "
                                        << o.src.h << " " << o.src.w << ", depth of the kernel " << o.kernel.d
                                        << (o.epilogue.beside ? ", beside" : ""));
        const Operands with = operands(o);
        const auto weights = floats(with.weights), bias = floats(with.bias);
        for (const cpu::Vectors v : vectors())
            for (const int threads : {1, 3}) {
                ThreadPool pool(threads);
                const auto convolution = cpu::make_winograd_convolution(pool.stream(), o, {false, false}, v);
                ASSERT_TRUE(convolution->works_in_place());
                const auto work = scratch(convolution->scratch_bytes());
                const auto run = [&](const KernelTensor& src, View dst, View beside) {
                    convolution->use_epilogue({.statistics = {}, .weights = {}, .beside = beside});
                    convolution->forward(pool.stream(), src.view(), weights.data(), bias.data(), dst, work.data());
                };
                const KernelTensor apart = tensor(with.src), over = tensor(with.src), dst = tensor(with.before),
                                   other_dst = tensor(with.before), beside = empty(o.dst());
                run(apart, dst.view(), beside.view());
                View lies_over = dst.view();
                lies_over.data = over.view().data;
                if (o.epilogue.beside)
                    run(over, other_dst.view(), lies_over);
                else
                    run(over, lies_over, {});
                const auto bytes = static_cast<std::size_t>(bytes_of(o.dst(), o.dst_type, o.dst_layout));
                const View right = o.epilogue.beside ? beside.view() : dst.view();
                EXPECT_EQ(std::memcmp(right.data, lies_over.data, bytes), 0);
                const View result = o.epilogue.beside ? other_dst.view() : dst.view();
                EXPECT_EQ(std::memcmp(dst.view().data, result.data, bytes), 0);
                const std::vector<unsigned char> used = work.host();
                EXPECT_TRUE(std::all_of(used.begin() + convolution->scratch_bytes(), used.end(),
                                        [](unsigned char byte) { return byte == 0xFF; }))
                    << "written past the scratch";
            }
    }
}

TEST_P(WinogradSlabs, GiveTheSameBytesWithChannelsMadeOnTheWay) {
    const int block = GetParam().layout == Layout::blocked8 ? 8 : 16;
    for (int i = 0; i < 40; ++i) {
        const int step = below(1, 3), made = block * below(1, 2), rest = below(1, 40);
        ConvolutionOptions o = any({1, made + rest, 8 * step * below(1, 4), below(1, 20), below(1, 20)}, below(1, 40));
        o.write = Write::overwrite;
        ConvolutionOptions with_made = o;
        with_made.made = {made, step};
        with_made.in_place = below(0, 1) == 1;
        SCOPED_TRACE(testing::Message() << made << " and " << rest << " to " << o.dst_channels << " channels, shape "
                                        << o.src.d << " " << o.src.h << " " << o.src.w << ", depth of the kernel "
                                        << o.kernel.d << ", steps of " << step);
        const Operands with = operands(o);
        const auto weights = floats(with.weights), bias = floats(with.bias);
        const KernelTensor all = tensor(with.src);
        const std::int64_t plane = o.src.h * o.src.w * block * bytes_of(o.src_type);
        const auto* const bytes_of_all = all.view().as<const std::byte>();
        Array others({1, rest, o.src.d, o.src.h, o.src.w});
        std::copy(with.src.values.begin() + made * o.src.voxels(), with.src.values.end(), others.values.begin());
        for (const cpu::Vectors v : vectors())
            for (const int threads : {1, 3}) {
                ThreadPool pool(threads);
                const auto whole = cpu::make_winograd_convolution(pool.stream(), o, {false, false}, v),
                           by_planes = cpu::make_winograd_convolution(pool.stream(), with_made, {false, false}, v);
                const std::int64_t at_once = by_planes->made_planes();
                ASSERT_GT(at_once, 0);
                ASSERT_EQ(o.src.d % at_once, 0);
                ASSERT_EQ(at_once % step, 0);
                const auto work = scratch(std::max(whole->scratch_bytes(), by_planes->scratch_bytes()));
                const KernelTensor right = tensor(with.before), dst = tensor(with.before), own = tensor(others);
                whole->forward(pool.stream(), all.view(), weights.data(), bias.data(), right.view(), work.data());
                std::int64_t next = 0;
                by_planes->use_made([&](std::int64_t first, View planes) {
                    EXPECT_EQ(first, next);
                    next = first + planes.shape.d;
                    for (std::int64_t b = 0; b < made / block; ++b)
                        std::copy_n(bytes_of_all + (b * o.src.d + first) * plane, planes.shape.d * plane,
                                    planes.as<std::byte>() + b * planes.shape.d * plane);
                });
                View to = dst.view();
                if (by_planes->works_in_place()) to.data = own.view().data;
                by_planes->forward(pool.stream(), own.view(), weights.data(), bias.data(), to, work.data());
                EXPECT_EQ(next, o.src.d);
                const auto bytes = static_cast<std::size_t>(bytes_of(o.dst(), o.dst_type, o.dst_layout));
                EXPECT_EQ(std::memcmp(right.view().data, to.data, bytes), 0);
            }
    }
}

TEST_P(WinogradSlabs, MakeNoChannelsOnTheWayWhereTheyCannot) {
    const int block = GetParam().layout == Layout::blocked8 ? 8 : 16;
    const auto planes = [&](auto change) {
        ConvolutionOptions o = options({1, 3 * block, 16, 4, 4}, 16);
        o.made = {block, 2};
        change(o);
        return cpu::make_winograd_convolution(stream(), o, {false, false})->made_planes();
    };
    EXPECT_EQ(planes([](auto&) {}), 2);
    EXPECT_EQ(planes([](auto& o) { o.src.d = 2 * 37; }), 0);  // no other divisor than one half
    EXPECT_EQ(planes([](auto& o) { o.src.n = 2; }), 0);
    EXPECT_EQ(planes([](auto& o) { o.made.channels /= 2; }), 0);
    EXPECT_EQ(planes([](auto& o) { o.made.channels *= 3; }), 0);
    EXPECT_EQ(planes([](auto& o) { o.src.d = 15; }), 0);
}

TEST_P(WinogradSlabs, AreNotOverTheSourceWhereTheyCannotBe) {
    const auto works = [&](auto change) {
        ConvolutionOptions o = options({1, 32, 3, 4, 4}, 16);
        o.in_place = true;
        change(o);
        return cpu::make_winograd_convolution(stream(), o, {false, false})->works_in_place();
    };
    EXPECT_TRUE(works([](auto&) {}));
    EXPECT_FALSE(works([](auto& o) { o.in_place = false; }));
    EXPECT_FALSE(works([](auto& o) { o.src.n = 2; }));
    EXPECT_FALSE(works([](auto& o) { o.dst_channels = 48; }));
    EXPECT_FALSE(works([](auto& o) { o.write = Write::accumulate; }));
}

INSTANTIATE_TEST_SUITE_P(Forms, WinogradSlabs, testing::ValuesIn(kWinogradForms), testing::PrintToStringParamName());

}  // namespace
}  // namespace iwseg

// Prints what the tile instructions of a bf16 training step of the default network are, 2 x 64^3 voxels: products, of
// which how much is useful, loads and stores; and the seconds of all that is not tiles, on one thread. The instructions
// are only counted, so it runs on any processor. Run by hand.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "engine/context.h"
#include "kernels/convolution/amx/amx_convolution.h"
#include "kernels/device/backend.h"
#include "losses/loss.h"
#include "models/unet.h"
#include "training/session.h"

namespace iwseg {
namespace {

struct Counts {
    std::int64_t products = 0, loads = 0, stores = 0;
};
Counts counts;

/// Tile operations that do nothing but be counted.
struct CountedTiles {
    static void configure(const cpu::TileConfiguration&) {}
    static void release() {}
    template <int>
    static void zero() {}
    template <int>
    static void load(const void*, std::int64_t) {
        ++counts.loads;
    }
    template <int>
    static void store(void* to, std::int64_t) {
        ++counts.stores;
        asm volatile("" ::"r"(to) : "memory");
    }
    template <int, int, int>
    static void multiply() {
        ++counts.products;
    }
};

struct Made {
    ConvolutionOptions options;
    ConvolutionPasses passes;
};
std::vector<Made> made;

/// All convolutions of a step.
std::vector<Made> convolutions_of_step() {
    static Backend noting = cpu::backend();
    noting.make_convolution = [](Stream stream, const ConvolutionOptions& options, ConvolutionPasses passes) {
        made.push_back({options, passes});
        return cpu::make_convolution(stream, options, passes);
    };
    Context context(noting, {});
    Parameters parameters;
    TrainingOptions training;
    training.network = unet({});
    training.loss = loss_from_name("iwbce");
    training.bf16 = true;
    training.input = {2, 1, 64, 64, 64};
    TrainingSession session(context, parameters, training);
    return made;
}

struct Sum {
    double operations = 0, seconds = 0;
    Counts counts;
};

/// What a pass takes: 0 forward, 1 the gradient of data, 2 that of weights.
Sum run(const Made& one, int pass) {
    static constexpr cpu::TileProducts kProducts = cpu::tile_products<CountedTiles>();
    const ConvolutionOptions& o = one.options;
    const auto convolution = cpu::make_amx_convolution({}, o, one.passes, kProducts);
    const auto room = [](std::int64_t bytes) { return std::vector<char>(static_cast<std::size_t>(bytes) + 64); };
    auto scratch = room(convolution->scratch_bytes()), src = room(bytes_of(o.src, o.src_type, o.src_layout)),
         dst = room(bytes_of(o.dst(), o.dst_type, o.dst_layout));
    std::vector<float> weights(static_cast<std::size_t>(o.weight_count()));
    std::vector<float> bias(static_cast<std::size_t>(o.dst_channels));
    const View x{src.data(), o.src, o.src_type, o.src_layout}, y{dst.data(), o.dst(), o.dst_type, o.dst_layout};
    Sum sum{2.0 * static_cast<double>(o.weight_count() * o.dst().voxels() * o.src.n), 1e9, {}};
    for (int again = 0; again < 5; ++again) {
        counts = {};
        const auto begin = std::chrono::steady_clock::now();
        if (pass == 0)
            convolution->forward({}, x, weights.data(), bias.data(), y, scratch.data());
        else if (pass == 1)
            convolution->backward_data({}, y, weights.data(), x, scratch.data());
        else
            convolution->backward_weights({}, x, y, weights.data(), nullptr, scratch.data());
        const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
        sum.seconds = std::min(sum.seconds, seconds);
    }
    sum.counts = counts;
    return sum;
}

void print(const Sum& sum, const std::string& name) {
    const auto products = static_cast<double>(sum.counts.products);
    fmt::print("{:8.1f} {:9.2f} {:6.0f}% {:6.2f} {:7.2f} {:8.2f} {:8.2f}  {}\n", sum.operations / 1e9, products / 1e6,
               100 * sum.operations / (products * 16384), static_cast<double>(sum.counts.loads) / products,
               static_cast<double>(sum.counts.stores) / products, products * 16 / 2.6e6, sum.seconds * 1e3, name);
}

void print_all() {
    fmt::print(
        "   GFLOP  products  useful  loads  stores  ms of 16   ms, all\n"
        "           million          of a product  cycles at  but tiles\n"
        "                                          2.6 GHz   one thread\n");
    const char* const names[] = {"forward", "data gradient", "weight gradient"};
    Sum sums[3];
    for (const Made& one : convolutions_of_step()) {
        if (!cpu::amx_takes(one.options)) continue;
        const ConvolutionOptions& o = one.options;
        for (int pass = 0; pass < 3; ++pass) {
            if ((pass == 1 && !one.passes.backward_data) || (pass == 2 && !one.passes.backward_weights)) continue;
            const Sum sum = run(one, pass);
            print(sum, fmt::format("{} to {} channels, kernel {}, {} x {} x {}, {}", o.src.c, o.dst_channels,
                                   o.kernel.d, o.src.d, o.src.h, o.src.w, names[pass]));
            Sum& all = sums[pass];
            all.operations += sum.operations, all.seconds += sum.seconds;
            all.counts.products += sum.counts.products, all.counts.loads += sum.counts.loads;
            all.counts.stores += sum.counts.stores;
        }
    }
    for (int pass = 0; pass < 3; ++pass) print(sums[pass], fmt::format("all, {}", names[pass]));
}

}  // namespace
}  // namespace iwseg

int main() {
    iwseg::print_all();
}

#include <algorithm>
#include <memory>

#include "base/bytes.h"
#include "kernels/convolution/direct.h"
#include "kernels/cpu/parallel.h"
#include "kernels/device/bf16.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/reorder.h"

// Convolutions of any kernel, stride and groups on plain f32 copies of the tensors: the definition, for what oneDNN is
// not trusted with and our tiles (taps/) do not take: groups that share a block of channels, plain tensors, processors
// without AVX2. It is not fast.
namespace iwseg::cpu {
namespace {

/// Positions of a tap along one axis: those from `first` to before `last` read src, each at position * stride + shift.
struct Reach {
    std::int64_t first, last, stride, shift;

    Reach(std::int64_t src, std::int64_t dst, int tap, int padding, int step) : stride(step), shift(tap - padding) {
        first = shift < 0 ? (-shift + step - 1) / step : 0;
        last = std::min(dst, src > shift ? (src - shift + step - 1) / step : 0);
    }
    std::int64_t source(std::int64_t position) const { return position * stride + shift; }
};

class GeneralConvolution final : public Convolution {
  public:
    explicit GeneralConvolution(const ConvolutionOptions& options)
        : options_(options),
          dst_(options.dst()),
          dst_at_(aligned(options.src.elements() * 4, kCacheLine)),
          rest_(dst_at_ + aligned(dst_.elements() * 4, kCacheLine)) {}

    std::string implementation() const override { return "direct, any kernel"; }
    std::int64_t scratch_bytes() const override { return rest_ + channel_sum_scratch_bytes(dst_, options_.dst_layout); }

    void forward(Stream stream, View src, const float* weights, const float* bias, View dst, void* scratch) override {
        const View from = plain_src(scratch), to = plain_dst(scratch);
        reorder(stream, src, from);
        if (options_.write == Write::accumulate) reorder(stream, dst, to);
        parallel_for(stream, dst_.n * dst_.c, [&](std::int64_t row) {
            float* const sums = to.as<float>() + row * dst_.voxels();
            if (options_.write == Write::overwrite) std::fill_n(sums, dst_.voxels(), 0.0f);
            const std::int64_t o = row % dst_.c;
            for (std::int64_t v = 0; options_.bias && v < dst_.voxels(); ++v) sums[v] += bias[o];
            each_input(row / dst_.c, o, [&](std::int64_t input, std::int64_t weight) {
                const float* const image = from.as<const float>() + input * options_.src.voxels();
                each_tap([&](std::int64_t tap, const auto& pairs) {
                    const float w = operand(weights[weight + tap]);
                    pairs([&](std::int64_t at_dst, std::int64_t at_src) { sums[at_dst] += w * image[at_src]; });
                });
            });
        });
        reorder(stream, to, dst);
    }

    void backward_data(Stream stream, View diff_dst, const float* weights, View diff_src, void* scratch) override {
        const View to = plain_src(scratch), from = plain_dst(scratch);
        reorder(stream, diff_dst, from);
        // A group of a sample by itself: its outputs add to the same inputs.
        const std::int64_t outputs = dst_.c / options_.groups;
        parallel_for(stream, dst_.n * options_.groups, [&](std::int64_t part) {
            const std::int64_t n = part / options_.groups, first = part % options_.groups * outputs;
            std::fill_n(to.as<float>() + part * options_.inputs() * options_.src.voxels(),
                        options_.inputs() * options_.src.voxels(), 0.0f);
            for (std::int64_t o = first; o < first + outputs; ++o) {
                const float* const given = from.as<const float>() + (n * dst_.c + o) * dst_.voxels();
                each_input(n, o, [&](std::int64_t input, std::int64_t weight) {
                    float* const sums = to.as<float>() + input * options_.src.voxels();
                    each_tap([&](std::int64_t tap, const auto& pairs) {
                        const float w = operand(weights[weight + tap]);
                        pairs([&](std::int64_t at_dst, std::int64_t at_src) { sums[at_src] += w * given[at_dst]; });
                    });
                });
            }
        });
        reorder(stream, to, diff_src);
    }

    void backward_weights(Stream stream, View src, View diff_dst, float* diff_weights, float* diff_bias,
                          void* scratch) override {
        const View image = plain_src(scratch), given = plain_dst(scratch);
        reorder(stream, src, image);
        reorder(stream, diff_dst, given);
        parallel_for(stream, dst_.c, [&](std::int64_t o) {
            const std::int64_t weights = options_.inputs() * options_.taps();
            std::fill_n(diff_weights + o * weights, weights, 0.0f);
            for (std::int64_t n = 0; n < dst_.n; ++n) {
                const float* const of_output = given.as<const float>() + (n * dst_.c + o) * dst_.voxels();
                each_input(n, o, [&](std::int64_t input, std::int64_t weight) {
                    const float* const of_input = image.as<const float>() + input * options_.src.voxels();
                    each_tap([&](std::int64_t tap, const auto& pairs) {
                        double sum = 0;
                        pairs([&](std::int64_t at_dst, std::int64_t at_src) {
                            sum += double{of_output[at_dst]} * of_input[at_src];
                        });
                        diff_weights[weight + tap] += static_cast<float>(sum);
                    });
                });
            }
        });
        if (diff_bias) channel_sum(stream, diff_dst, diff_bias, static_cast<char*>(scratch) + rest_);
    }

  private:
    View plain_src(void* scratch) const { return {scratch, options_.src}; }
    View plain_dst(void* scratch) const { return {static_cast<char*>(scratch) + dst_at_, dst_}; }
    float operand(float weight) const { return options_.src_type == Type::bf16 ? round_to_bf16(weight) : weight; }

    /// Calls body(channel of all samples, first of its weights) for the inputs of an output.
    template <class Body>
    void each_input(std::int64_t n, std::int64_t o, Body&& body) const {
        const std::int64_t inputs = options_.inputs(), first = o / (dst_.c / options_.groups) * inputs;
        for (std::int64_t c = 0; c < inputs; ++c)
            body(n * options_.src.c + first + c, (o * inputs + c) * options_.taps());
    }

    /// Calls body(tap, pairs), pairs(f) calling f(voxel of dst, voxel of src) for those that the tap joins.
    template <class Body>
    void each_tap(Body&& body) const {
        const Sides &k = options_.kernel, &step = options_.stride, before = options_.padding();
        const Shape& src = options_.src;
        std::int64_t tap = 0;
        for (int kd = 0; kd < k.d; ++kd)
            for (int kh = 0; kh < k.h; ++kh)
                for (int kw = 0; kw < k.w; ++kw, ++tap) {
                    const Reach d(src.d, dst_.d, kd, before.d, step.d), h(src.h, dst_.h, kh, before.h, step.h);
                    const Reach w(src.w, dst_.w, kw, before.w, step.w);
                    body(tap, [&](auto&& pair) {
                        for (std::int64_t i = d.first; i < d.last; ++i)
                            for (std::int64_t j = h.first; j < h.last; ++j) {
                                const std::int64_t to = (i * dst_.h + j) * dst_.w;
                                const std::int64_t from = (d.source(i) * src.h + h.source(j)) * src.w;
                                for (std::int64_t l = w.first; l < w.last; ++l) pair(to + l, from + w.source(l));
                            }
                    });
                }
    }

    ConvolutionOptions options_;
    Shape dst_;
    std::int64_t dst_at_, rest_;  ///< places in scratch: bytes from its start
};

}  // namespace

std::unique_ptr<Convolution> make_general_convolution(const ConvolutionOptions& options, ConvolutionPasses) {
    return std::make_unique<GeneralConvolution>(options);
}

}  // namespace iwseg::cpu

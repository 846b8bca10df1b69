#include <algorithm>
#include <stdexcept>

#include "kernels/convolution/direct.cuh"
#include "kernels/convolution/direct.h"
#include "kernels/device/dispatch.h"
#include "kernels/elementwise/elementwise.h"

// Convolutions of any kernel, stride and groups: one thread a result, which gathers what it is made of. It is what
// takes what nothing faster does; it is not fast. Weights are read as they lie, the parameters' or packed for cuDNN.
//
// Weight gradients are summed in parts, each over every nth row of results, then joined in order, as direct.cu's are.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kThreads = 256;

struct General {
    std::int64_t samples, inputs, outputs;  ///< channels of src and of dst in one group
    std::int64_t groups;
    Size src, dst;
    Sides kernel, stride, padding;
    Strides from, to;                       ///< of src and of dst
    std::int64_t weight_input, weight_tap;  ///< weights from one input and one tap to the next

    __host__ __device__ std::int64_t taps() const { return std::int64_t{kernel.d} * kernel.h * kernel.w; }
};

/// Position of a voxel of a volume.
struct Voxel {
    int d, h, w;

    __device__ __forceinline__ Voxel(std::int64_t index, const Size& size)
        : d(static_cast<int>(index / size.w / size.h)),
          h(static_cast<int>(index / size.w % size.h)),
          w(static_cast<int>(index % size.w)) {}
};

__device__ __forceinline__ std::int64_t voxels_of(const Size& size) {
    return std::int64_t{size.d} * size.h * size.w;
}

/// summand: like dst, and dst itself or elsewhere; or null.
template <class Src, class Dst, class Weight>
__global__ void forward_kernel(General p, const Src* src, const Weight* weights, const float* bias, const Dst* summand,
                               Dst* dst) {
    const std::int64_t all = p.outputs * p.groups, count = p.samples * voxels_of(p.dst) * all;
    const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
    for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step) {
        const std::int64_t o = i % all, voxel = i / all % voxels_of(p.dst), sample = i / all / voxels_of(p.dst);
        const std::int64_t first = o / p.outputs * p.inputs;  // of the group's channels
        const Voxel at(voxel, p.dst);
        const Src* const image = src + sample * p.from.sample + first * p.from.channel;
        const Weight* tap = weights + o * p.inputs * p.taps();
        float sum = bias ? bias[o] : 0.0f;
        for (int kd = 0; kd < p.kernel.d; ++kd)
            for (int kh = 0; kh < p.kernel.h; ++kh)
                for (int kw = 0; kw < p.kernel.w; ++kw, tap += p.weight_tap) {
                    const int d = at.d * p.stride.d + kd - p.padding.d, h = at.h * p.stride.h + kh - p.padding.h;
                    const int w = at.w * p.stride.w + kw - p.padding.w;
                    if (d < 0 || d >= p.src.d || h < 0 || h >= p.src.h || w < 0 || w >= p.src.w) continue;
                    const Src* const from = image + ((std::int64_t{d} * p.src.h + h) * p.src.w + w) * p.from.voxel;
                    for (std::int64_t c = 0; c < p.inputs; ++c)
                        sum += to_f32(from[c * p.from.channel]) * as_operand<Src>(to_f32(tap[c * p.weight_input]));
                }
        const std::int64_t place = sample * p.to.sample + o * p.to.channel + voxel * p.to.voxel;
        store(dst[place], summand ? to_f32(summand[place]) + sum : sum);
    }
}

/// Where a kernel's tap k lies on src: from which position of dst, or -1 where from none.
__device__ __forceinline__ int position_of(int at, int k, int padding, int stride, int positions) {
    const int moved = at + padding - k;
    return moved >= 0 && moved % stride == 0 && moved / stride < positions ? moved / stride : -1;
}

template <class Src, class Dst, class Weight>
__global__ void data_kernel(General p, const Dst* diff_dst, const Weight* weights, Src* diff_src) {
    const std::int64_t all = p.inputs * p.groups, count = p.samples * voxels_of(p.src) * all;
    const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
    for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step) {
        const std::int64_t c = i % all, voxel = i / all % voxels_of(p.src), sample = i / all / voxels_of(p.src);
        const std::int64_t first = c / p.inputs * p.outputs;  // of the group's outputs
        const Voxel at(voxel, p.src);
        const Dst* const results = diff_dst + sample * p.to.sample + first * p.to.channel;
        const Weight* tap = weights + first * p.inputs * p.taps() + c % p.inputs * p.weight_input;
        float sum = 0;
        for (int kd = 0; kd < p.kernel.d; ++kd)
            for (int kh = 0; kh < p.kernel.h; ++kh)
                for (int kw = 0; kw < p.kernel.w; ++kw, tap += p.weight_tap) {
                    const int d = position_of(at.d, kd, p.padding.d, p.stride.d, p.dst.d);
                    const int h = position_of(at.h, kh, p.padding.h, p.stride.h, p.dst.h);
                    const int w = position_of(at.w, kw, p.padding.w, p.stride.w, p.dst.w);
                    if (d < 0 || h < 0 || w < 0) continue;
                    const Dst* const from = results + ((std::int64_t{d} * p.dst.h + h) * p.dst.w + w) * p.to.voxel;
                    for (std::int64_t o = 0; o < p.outputs; ++o)
                        sum += to_f32(from[o * p.to.channel]) * as_operand<Src>(to_f32(tap[o * p.inputs * p.taps()]));
                }
        store(diff_src[sample * p.from.sample + c * p.from.channel + voxel * p.from.voxel], sum);
    }
}

/// partial[part][weight]: block (x, part) sums every parts-th row of dst.
template <class Src, class Dst>
__global__ void weight_kernel(General p, int parts, const Src* src, const Dst* diff_dst, float* partial) {
    const std::int64_t count = p.outputs * p.groups * p.inputs * p.taps(), rows = p.samples * p.dst.d * p.dst.h;
    const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
    for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step) {
        const int tap = static_cast<int>(i % p.taps());
        const std::int64_t o = i / p.taps() / p.inputs, c = o / p.outputs * p.inputs + i / p.taps() % p.inputs;
        const int kd = tap / (p.kernel.h * p.kernel.w), kh = tap / p.kernel.w % p.kernel.h, kw = tap % p.kernel.w;
        float sum = 0;
        for (std::int64_t row = blockIdx.y; row < rows; row += parts) {
            const int dst_h = static_cast<int>(row % p.dst.h), dst_d = static_cast<int>(row / p.dst.h % p.dst.d);
            const std::int64_t sample = row / p.dst.h / p.dst.d;
            const int d = dst_d * p.stride.d + kd - p.padding.d, h = dst_h * p.stride.h + kh - p.padding.h;
            if (d < 0 || d >= p.src.d || h < 0 || h >= p.src.h) continue;
            const Dst* const with = diff_dst + sample * p.to.sample + o * p.to.channel +
                                    (std::int64_t{dst_d} * p.dst.h + dst_h) * p.dst.w * p.to.voxel;
            const Src* const from = src + sample * p.from.sample + c * p.from.channel +
                                    (std::int64_t{d} * p.src.h + h) * p.src.w * p.from.voxel;
            float row_sum = 0;  // on its own: sums of sums lose less
            for (int dst_w = 0; dst_w < p.dst.w; ++dst_w) {
                const int w = dst_w * p.stride.w + kw - p.padding.w;
                if (w >= 0 && w < p.src.w) row_sum += to_f32(with[dst_w * p.to.voxel]) * to_f32(from[w * p.from.voxel]);
            }
            sum += row_sum;
        }
        partial[blockIdx.y * count + i] = sum;
    }
}

// ----------------------------------------------------------------------------------------------------------------------

/// Checks the tensors, or their gradients, and says where they and the weights lie.
General problem_of(const ConvolutionOptions& o, const View& src, const View& dst, bool packed) {
    require(src, o.src, o.src_type, o.src_layout, "src");
    require(dst, o.dst(), o.dst_type, o.dst_layout, "dst");
    return {src.shape.n,
            o.inputs(),
            o.dst_channels / o.groups,
            o.groups,
            size_of(src.shape),
            size_of(dst.shape),
            o.kernel,
            o.stride,
            o.padding(),
            strides_of(src),
            strides_of(dst),
            packed ? 1 : o.taps(),
            packed ? o.inputs() : 1};
}

/// Calls body(of src, of dst) with elements of the operands' types.
template <class Body>
void with_types(const ConvolutionOptions& o, Body&& body) {
    with_real(o.src_type, [&](auto src) { with_real(o.dst_type, [&](auto dst) { body(src, dst); }); });
}

/// Calls body(weights) with a pointer to those that are there; packed ones are of the type of src.
template <class Src, class Body>
void with_weights(const GeneralWeights& weights, Body&& body) {
    if (weights.packed)
        body(static_cast<const Src*>(weights.packed));
    else
        body(weights.plain);
}

class GeneralConvolution final : public Convolution {
  public:
    GeneralConvolution(const ConvolutionOptions& options, ConvolutionPasses passes) : options_(options) {
        if (!passes.backward_weights) return;
        scratch_bytes_ = general_gradient_scratch_bytes(options);
        if (options.bias)
            scratch_bytes_ = std::max(scratch_bytes_, channel_sum_scratch_bytes(options.dst(), options.dst_layout));
    }

    std::string implementation() const override { return "direct, any kernel"; }
    std::int64_t scratch_bytes() const override { return scratch_bytes_; }
    bool adds_elsewhere() const override { return true; }
    void forward(Stream stream, View src, const float* weights, const float* bias, View dst, void*) override {
        general_forward(stream, options_, src, {weights, nullptr}, bias, dst, dst);
    }
    void forward_sum(Stream stream, View src, const float* weights, const float* bias, View summand, View dst,
                     void*) override {
        if (options_.write != Write::accumulate)
            throw std::logic_error("convolution: a summand for one that does not add");
        general_forward(stream, options_, src, {weights, nullptr}, bias, summand, dst);
    }
    void backward_data(Stream stream, View diff_dst, const float* weights, View diff_src, void*) override {
        general_data_gradient(stream, options_, diff_dst, {weights, nullptr}, diff_src);
    }
    void backward_weights(Stream stream, View src, View diff_dst, float* diff_weights, float* diff_bias,
                          void* scratch) override {
        general_weight_gradient(stream, options_, src, diff_dst, diff_weights, scratch);
        if (options_.bias && diff_bias) channel_sum(stream, diff_dst, diff_bias, scratch);
    }

  private:
    ConvolutionOptions options_;
    std::int64_t scratch_bytes_ = 0;
};

int gradient_parts(const ConvolutionOptions& o) {
    const Shape dst = o.dst();
    return parts_for(o.weight_count(), dst.n * dst.d * dst.h);
}

}  // namespace

void general_forward(Stream stream, const ConvolutionOptions& options, View src, const GeneralWeights& weights,
                     const float* bias, View summand, View dst) {
    const General p = problem_of(options, src, dst, weights.packed != nullptr);
    const bool adds = options.write == Write::accumulate;
    if (adds) require(summand, options.dst(), options.dst_type, options.dst_layout, "summand");
    with_types(options, [&](auto real_src, auto real_dst) {
        using Src = decltype(real_src);
        using Dst = decltype(real_dst);
        with_weights<Src>(weights, [&]<class Weight>(const Weight* all) {
            launch(forward_kernel<Src, Dst, Weight>, {blocks_for(dst.shape.elements(), kThreads), kThreads}, stream, p,
                   src.as<const Src>(), all, options.bias ? bias : nullptr, adds ? summand.as<const Dst>() : nullptr,
                   dst.as<Dst>());
        });
    });
}

void general_data_gradient(Stream stream, const ConvolutionOptions& options, View diff_dst,
                           const GeneralWeights& weights, View diff_src) {
    const General p = problem_of(options, diff_src, diff_dst, weights.packed != nullptr);
    with_types(options, [&](auto real_src, auto real_dst) {
        using Src = decltype(real_src);
        using Dst = decltype(real_dst);
        with_weights<Src>(weights, [&]<class Weight>(const Weight* all) {
            launch(data_kernel<Src, Dst, Weight>, {blocks_for(diff_src.shape.elements(), kThreads), kThreads}, stream,
                   p, diff_dst.as<const Dst>(), all, diff_src.as<Src>());
        });
    });
}

std::int64_t general_gradient_scratch_bytes(const ConvolutionOptions& options) {
    return gradient_parts(options) * options.weight_count() * bytes_of(Type::f32);
}

void general_weight_gradient(Stream stream, const ConvolutionOptions& options, View src, View diff_dst,
                             float* diff_weights, void* scratch) {
    const General p = problem_of(options, src, diff_dst, false);
    const std::int64_t count = options.weight_count();
    const int parts = gradient_parts(options);
    auto* partial = static_cast<float*>(scratch);
    with_types(options, [&](auto real_src, auto real_dst) {
        using Src = decltype(real_src);
        using Dst = decltype(real_dst);
        launch(weight_kernel<Src, Dst>, {{blocks_for(count, kThreads), static_cast<unsigned>(parts)}, kThreads}, stream,
               p, parts, src.as<const Src>(), diff_dst.as<const Dst>(), partial);
    });
    join_partial_sums(stream, partial, parts, count, diff_weights);
}

std::unique_ptr<Convolution> make_general_convolution(const ConvolutionOptions& options, ConvolutionPasses passes) {
    return std::make_unique<GeneralConvolution>(options, passes);
}

}  // namespace iwseg::IWSEG_BACKEND

#include <algorithm>
#include <stdexcept>

#include "kernels/convolution/direct.cuh"
#include "kernels/convolution/direct.h"
#include "kernels/device/dispatch.h"
#include "kernels/elementwise/elementwise.h"

// Convolutions of any kernel, stride and groups: one thread a result, which gathers what it is made of. It is what
// takes what nothing faster does; it is not fast.
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
    Strides from, to;  ///< of src and of dst

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
template <class Src, class Dst>
__global__ void forward_kernel(General p, const Src* src, const float* weights, const float* bias, const Dst* summand,
                               Dst* dst) {
    const std::int64_t all = p.outputs * p.groups, count = p.samples * voxels_of(p.dst) * all;
    const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
    for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step) {
        const std::int64_t o = i % all, voxel = i / all % voxels_of(p.dst), sample = i / all / voxels_of(p.dst);
        const std::int64_t first = o / p.outputs * p.inputs;  // of the group's channels
        const Voxel at(voxel, p.dst);
        const Src* const image = src + sample * p.from.sample + first * p.from.channel;
        const float* tap = weights + o * p.inputs * p.taps();
        float sum = bias ? bias[o] : 0.0f;
        for (int kd = 0; kd < p.kernel.d; ++kd)
            for (int kh = 0; kh < p.kernel.h; ++kh)
                for (int kw = 0; kw < p.kernel.w; ++kw, ++tap) {
                    const int d = at.d * p.stride.d + kd - p.padding.d, h = at.h * p.stride.h + kh - p.padding.h;
                    const int w = at.w * p.stride.w + kw - p.padding.w;
                    if (d < 0 || d >= p.src.d || h < 0 || h >= p.src.h || w < 0 || w >= p.src.w) continue;
                    const Src* const from = image + ((std::int64_t{d} * p.src.h + h) * p.src.w + w) * p.from.voxel;
                    for (std::int64_t c = 0; c < p.inputs; ++c)
                        sum += to_f32(from[c * p.from.channel]) * as_operand<Src>(tap[c * p.taps()]);
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

template <class Src, class Dst>
__global__ void data_kernel(General p, const Dst* diff_dst, const float* weights, Src* diff_src) {
    const std::int64_t all = p.inputs * p.groups, count = p.samples * voxels_of(p.src) * all;
    const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
    for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step) {
        const std::int64_t c = i % all, voxel = i / all % voxels_of(p.src), sample = i / all / voxels_of(p.src);
        const std::int64_t first = c / p.inputs * p.outputs;  // of the group's outputs
        const Voxel at(voxel, p.src);
        const Dst* const results = diff_dst + sample * p.to.sample + first * p.to.channel;
        const float* tap = weights + (first * p.inputs + c % p.inputs) * p.taps();
        float sum = 0;
        for (int kd = 0; kd < p.kernel.d; ++kd)
            for (int kh = 0; kh < p.kernel.h; ++kh)
                for (int kw = 0; kw < p.kernel.w; ++kw, ++tap) {
                    const int d = position_of(at.d, kd, p.padding.d, p.stride.d, p.dst.d);
                    const int h = position_of(at.h, kh, p.padding.h, p.stride.h, p.dst.h);
                    const int w = position_of(at.w, kw, p.padding.w, p.stride.w, p.dst.w);
                    if (d < 0 || h < 0 || w < 0) continue;
                    const Dst* const from = results + ((std::int64_t{d} * p.dst.h + h) * p.dst.w + w) * p.to.voxel;
                    for (std::int64_t o = 0; o < p.outputs; ++o)
                        sum += to_f32(from[o * p.to.channel]) * as_operand<Src>(tap[o * p.inputs * p.taps()]);
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

class GeneralConvolution final : public Convolution {
  public:
    GeneralConvolution(const ConvolutionOptions& options, ConvolutionPasses passes)
        : options_(options),
          parts_(parts_for(options.weight_count(), options.dst().n * options.dst().d * options.dst().h)) {
        if (!passes.backward_weights) return;
        scratch_bytes_ = parts_ * options.weight_count() * static_cast<std::int64_t>(sizeof(float));
        if (options.bias)
            scratch_bytes_ = std::max(scratch_bytes_, channel_sum_scratch_bytes(options.dst(), options.dst_layout));
    }

    std::string implementation() const override { return "direct, any kernel"; }
    std::int64_t scratch_bytes() const override { return scratch_bytes_; }
    bool adds_elsewhere() const override { return true; }
    void forward(Stream stream, View src, const float* weights, const float* bias, View dst, void*) override {
        run_forward(stream, src, weights, bias, options_.write == Write::accumulate ? dst.data : nullptr, dst);
    }
    void forward_sum(Stream stream, View src, const float* weights, const float* bias, View summand, View dst,
                     void*) override {
        if (options_.write != Write::accumulate)
            throw std::logic_error("convolution: a summand for one that does not add");
        require(summand, options_.dst(), options_.dst_type, options_.dst_layout, "summand");
        run_forward(stream, src, weights, bias, summand.data, dst);
    }
    void backward_data(Stream stream, View diff_dst, const float* weights, View diff_src, void*) override {
        const General p = problem(diff_src, diff_dst);
        with_types([&](auto real_src, auto real_dst) {
            using Src = decltype(real_src);
            using Dst = decltype(real_dst);
            launch(data_kernel<Src, Dst>, {blocks_for(diff_src.shape.elements(), kThreads), kThreads}, stream, p,
                   diff_dst.as<const Dst>(), weights, diff_src.as<Src>());
        });
    }
    void backward_weights(Stream stream, View src, View diff_dst, float* diff_weights, float* diff_bias,
                          void* scratch) override {
        const General p = problem(src, diff_dst);
        auto* partial = static_cast<float*>(scratch);
        const LaunchShape shape{{blocks_for(options_.weight_count(), kThreads), static_cast<unsigned>(parts_)},
                                kThreads};
        with_types([&](auto real_src, auto real_dst) {
            using Src = decltype(real_src);
            using Dst = decltype(real_dst);
            launch(weight_kernel<Src, Dst>, shape, stream, p, parts_, src.as<const Src>(), diff_dst.as<const Dst>(),
                   partial);
        });
        join_partial_sums(stream, partial, parts_, options_.weight_count(), diff_weights);
        if (options_.bias && diff_bias) channel_sum(stream, diff_dst, diff_bias, scratch);
    }

  private:
    /// Checks the tensors, or their gradients, and says where they lie.
    General problem(const View& src, const View& dst) const {
        require(src, options_.src, options_.src_type, options_.src_layout, "src");
        require(dst, options_.dst(), options_.dst_type, options_.dst_layout, "dst");
        return {src.shape.n,     options_.inputs(),  options_.dst_channels / options_.groups,
                options_.groups, size_of(src.shape), size_of(dst.shape),
                options_.kernel, options_.stride,    options_.padding(),
                strides_of(src), strides_of(dst)};
    }
    template <class Body>
    void with_types(Body&& body) const {
        with_real(options_.src_type,
                  [&](auto src) { with_real(options_.dst_type, [&](auto dst) { body(src, dst); }); });
    }
    void run_forward(Stream stream, View src, const float* weights, const float* bias, const void* summand,
                     View dst) const {
        const General p = problem(src, dst);
        with_types([&](auto real_src, auto real_dst) {
            using Src = decltype(real_src);
            using Dst = decltype(real_dst);
            launch(forward_kernel<Src, Dst>, {blocks_for(dst.shape.elements(), kThreads), kThreads}, stream, p,
                   src.as<const Src>(), weights, options_.bias ? bias : nullptr, static_cast<const Dst*>(summand),
                   dst.as<Dst>());
        });
    }

    ConvolutionOptions options_;
    int parts_;
    std::int64_t scratch_bytes_ = 0;
};

}  // namespace

std::unique_ptr<Convolution> make_general_convolution(const ConvolutionOptions& options, ConvolutionPasses passes) {
    return std::make_unique<GeneralConvolution>(options, passes);
}

}  // namespace iwseg::IWSEG_BACKEND

#include "kernels/convolution/direct.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "kernels/convolution/direct.cuh"
#include "kernels/device/dispatch.h"
#include "kernels/elementwise/elementwise.h"

// The plain path takes every convolution of kernel 1 or 3 and stride 1: one thread a result, weights repacked so that
// neighbouring threads read neighbouring ones. The data gradient is the same kernel on mirrored, transposed weights. It
// is what the fast paths, and cuDNN's plans, are compared with, and what is used where they take nothing; it is not
// fast.
//
// Weight gradients are summed in parts, each over every nth row of voxels, then joined in order: the parts
// depend on the shape alone, so two runs agree to the bit.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kThreads = 256;

/// A pass of a convolution: gathers `inputs` channels of 27 (or 1) neighbours into one of `outputs` channels.
struct Gather {
    std::int64_t samples, inputs, outputs;
    Size size;
    int kernel;
    Strides from, to;
};

/// packed[tap][input][output]; mirrored: of the convolution whose data gradient is taken.
template <class Operand>
__global__ void pack_kernel(const float* weights, std::int64_t inputs, std::int64_t outputs, int taps, bool mirrored,
                            float* packed) {
    const std::int64_t count = inputs * outputs * taps, step = std::int64_t{gridDim.x} * blockDim.x;
    for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step) {
        const std::int64_t out = i % outputs, in = i / outputs % inputs, tap = i / outputs / inputs;
        const std::int64_t from =
            mirrored ? (in * outputs + out) * taps + (taps - 1 - tap) : (out * inputs + in) * taps + tap;
        packed[i] = as_operand<Operand>(weights[from]);
    }
}

/// summand: like `to`, and `to` itself or elsewhere; or null.
template <class From, class To>
__global__ void gather_kernel(Gather p, const From* from, const float* packed, const float* bias, const To* summand,
                              To* to) {
    const std::int64_t voxels = std::int64_t{p.size.d} * p.size.h * p.size.w, count = p.samples * voxels * p.outputs;
    const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
    const int r = p.kernel / 2;
    for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step) {
        const std::int64_t out = i % p.outputs, place = i / p.outputs, voxel = place % voxels, sample = place / voxels;
        const int w = static_cast<int>(voxel % p.size.w), h = static_cast<int>(voxel / p.size.w % p.size.h);
        const int d = static_cast<int>(voxel / p.size.w / p.size.h);
        float sum = bias ? bias[out] : 0.0f;
        for (int kd = max(0, r - d); kd < min(p.kernel, p.size.d + r - d); ++kd)
            for (int kh = max(0, r - h); kh < min(p.kernel, p.size.h + r - h); ++kh)
                for (int kw = max(0, r - w); kw < min(p.kernel, p.size.w + r - w); ++kw) {
                    const std::int64_t neighbour =
                        voxel + (std::int64_t{kd - r} * p.size.h + (kh - r)) * p.size.w + (kw - r);
                    const From* elements = from + sample * p.from.sample + neighbour * p.from.voxel;
                    const float* weights = packed + ((kd * p.kernel + kh) * p.kernel + kw) * p.inputs * p.outputs + out;
                    for (std::int64_t c = 0; c < p.inputs; ++c)
                        sum += to_f32(elements[c * p.from.channel]) * weights[c * p.outputs];
                }
        const std::int64_t at = sample * p.to.sample + out * p.to.channel + voxel * p.to.voxel;
        store(to[at], summand ? to_f32(summand[at]) + sum : sum);
    }
}

// ----------------------------------------------------------------------------------------------------------------------

/// A weight gradient: elements of src (C inputs) against elements of diff_dst (O outputs), over rows of voxels along w.
struct Correlation {
    std::int64_t samples, inputs, outputs;
    Size size;
    int kernel, parts;
    Strides src, diff;
};

/// partial[part][o][c][tap]: block (x, part) sums every parts-th row.
template <class Src, class Diff>
__global__ void correlate_kernel(Correlation p, const Src* src, const Diff* diff, float* partial) {
    const int taps = p.kernel * p.kernel * p.kernel, r = p.kernel / 2;
    const std::int64_t count = p.inputs * p.outputs * taps, rows = p.samples * p.size.d * p.size.h;
    const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
    for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step) {
        const std::int64_t c = i % p.inputs, o = i / p.inputs % p.outputs;
        const int tap = static_cast<int>(i / p.inputs / p.outputs);
        const int kd = tap / (p.kernel * p.kernel) - r, kh = tap / p.kernel % p.kernel - r, kw = tap % p.kernel - r;
        float sum = 0;
        for (std::int64_t row = blockIdx.y; row < rows; row += p.parts) {
            const int h = static_cast<int>(row % p.size.h), d = static_cast<int>(row / p.size.h % p.size.d);
            const std::int64_t sample = row / p.size.h / p.size.d;
            if (d + kd < 0 || d + kd >= p.size.d || h + kh < 0 || h + kh >= p.size.h) continue;
            const Diff* from = diff + sample * p.diff.sample + o * p.diff.channel +
                               (std::int64_t{d} * p.size.h + h) * p.size.w * p.diff.voxel;
            const Src* with = src + sample * p.src.sample + c * p.src.channel +
                              ((std::int64_t{d + kd} * p.size.h + h + kh) * p.size.w + kw) * p.src.voxel;
            float row_sum = 0;  // on its own: sums of sums lose less
            for (std::int64_t w = max(0, -kw); w < min(p.size.w, p.size.w - kw); ++w)
                row_sum += to_f32(from[w * p.diff.voxel]) * to_f32(with[w * p.src.voxel]);
            sum += row_sum;
        }
        partial[blockIdx.y * count + (o * p.inputs + c) * taps + tap] = sum;
    }
}

/// partial[part][o]: sums of diff_dst alone, over the same rows.
template <class Diff>
__global__ void sum_outputs_kernel(Correlation p, const Diff* diff, float* partial) {
    const std::int64_t voxels = std::int64_t{p.size.d} * p.size.h * p.size.w;
    for (std::int64_t o = threadIdx.x; o < p.outputs; o += blockDim.x) {
        float sum = 0;
        for (std::int64_t row = blockIdx.y; row < p.samples * p.size.d * p.size.h; row += p.parts) {
            const std::int64_t first = row * p.size.w;
            const Diff* from =
                diff + first / voxels * p.diff.sample + o * p.diff.channel + first % voxels * p.diff.voxel;
            float row_sum = 0;
            for (std::int64_t w = 0; w < p.size.w; ++w) row_sum += to_f32(from[w * p.diff.voxel]);
            sum += row_sum;
        }
        partial[blockIdx.y * p.outputs + o] = sum;
    }
}

/// A block joins 32 sums: each warp every eighth part, then the warps in order.
__global__ void join_kernel(const float* partial, int parts, std::int64_t count, float* sums) {
    constexpr int kWarps = kThreads / 32;
    SHARED(double, warps, kThreads);
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    const std::int64_t i = std::int64_t{blockIdx.x} * 32 + lane;
    double sum = 0;
    if (i < count)
        for (int part = warp; part < parts; part += kWarps) sum += partial[part * count + i];
    warps[threadIdx.x] = sum;
    __syncthreads();
    if (warp != 0 || i >= count) return;
    for (int w = 1; w < kWarps; ++w) sum += warps[w * 32 + lane];
    sums[i] = static_cast<float>(sum);
}

// ----------------------------------------------------------------------------------------------------------------------

class DirectConvolution final : public Convolution {
  public:
    DirectConvolution(const ConvolutionOptions& options, ConvolutionPasses passes);

    std::string implementation() const override {
        return first_ ? "direct, few to many" : last_ ? "direct, many to few" : "direct";
    }
    std::int64_t scratch_bytes() const override { return scratch_bytes_; }
    bool adds_elsewhere() const override { return !first_ && !last_; }
    void forward(Stream, View src, const float* weights, const float* bias, View dst, void* scratch) override;
    void forward_sum(Stream, View src, const float* weights, const float* bias, View summand, View dst,
                     void* scratch) override;
    void backward_data(Stream, View diff_dst, const float* weights, View diff_src, void* scratch) override;
    void backward_weights(Stream, View src, View diff_dst, float* diff_weights, float* diff_bias,
                          void* scratch) override;

  private:
    std::int64_t weight_count() const { return options_.src.c * options_.dst_channels * taps_; }
    const float* pack(Stream stream, const float* weights, bool mirrored, void* scratch) const;
    void gather(Stream stream, View from, const float* packed, const float* bias, const void* summand, View to) const;
    void sum_outputs(Stream stream, const Correlation& p, View diff_dst, float* diff_bias, void* scratch) const;

    ConvolutionOptions options_;
    int taps_;
    bool first_, last_;
    int parts_;
    std::int64_t scratch_bytes_ = 0;
};

DirectConvolution::DirectConvolution(const ConvolutionOptions& options, ConvolutionPasses passes)
    : options_(options),
      taps_(static_cast<int>(options.taps())),
      first_(takes_first(options)),
      last_(takes_last(options)),
      parts_(parts_for(weight_count(), options.src.n * options.src.d * options.src.h)) {
    constexpr std::int64_t kNumber = sizeof(float);
    const bool packs = !last_ && (!first_ || passes.backward_data);
    if (packs) scratch_bytes_ = weight_count() * kNumber;
    if (!passes.backward_weights) return;
    scratch_bytes_ = std::max(scratch_bytes_, first_  ? first_gradient_scratch_bytes(options_)
                                              : last_ ? last_gradient_scratch_bytes(options_)
                                                      : parts_ * weight_count() * kNumber);
    if (!options_.bias) return;
    scratch_bytes_ = std::max({scratch_bytes_, channel_sum_scratch_bytes(options_.dst(), options_.dst_layout),
                               parts_ * options_.dst_channels * kNumber});
}

const float* DirectConvolution::pack(Stream stream, const float* weights, bool mirrored, void* scratch) const {
    auto* packed = static_cast<float*>(scratch);
    const std::int64_t c = options_.src.c, o = options_.dst_channels;
    with_real(options_.src_type, [&](auto operand) {
        launch(pack_kernel<decltype(operand)>, {blocks_for(weight_count(), kThreads), kThreads}, stream, weights,
               mirrored ? o : c, mirrored ? c : o, taps_, mirrored, packed);
    });
    return packed;
}

void DirectConvolution::gather(Stream stream, View from, const float* packed, const float* bias, const void* summand,
                               View to) const {
    const Gather p{from.shape.n,      from.shape.c,     to.shape.c,    size_of(from.shape),
                   options_.kernel.d, strides_of(from), strides_of(to)};
    const LaunchShape shape{blocks_for(to.shape.elements(), kThreads), kThreads};
    with_real(from.type, [&](auto real_from) {
        with_real(to.type, [&](auto real_to) {
            using From = decltype(real_from);
            using To = decltype(real_to);
            launch(gather_kernel<From, To>, shape, stream, p, from.as<const From>(), packed, bias,
                   static_cast<const To*>(summand), to.as<To>());
        });
    });
}

void DirectConvolution::forward(Stream stream, View src, const float* weights, const float* bias, View dst,
                                void* scratch) {
    require(src, options_.src, options_.src_type, options_.src_layout, "src");
    require(dst, options_.dst(), options_.dst_type, options_.dst_layout, "dst");
    const float* shift = options_.bias ? bias : nullptr;
    if (first_) return first_forward(stream, options_, src, weights, shift, dst);
    if (last_) return last_forward(stream, options_, src, weights, shift, dst);
    const void* summand = options_.write == Write::accumulate ? dst.data : nullptr;
    gather(stream, src, pack(stream, weights, false, scratch), shift, summand, dst);
}

void DirectConvolution::forward_sum(Stream stream, View src, const float* weights, const float* bias, View summand,
                                    View dst, void* scratch) {
    if (options_.write != Write::accumulate || !adds_elsewhere())
        throw std::logic_error("convolution: a summand for one that does not add");
    require(src, options_.src, options_.src_type, options_.src_layout, "src");
    require(summand, options_.dst(), options_.dst_type, options_.dst_layout, "summand");
    require(dst, options_.dst(), options_.dst_type, options_.dst_layout, "dst");
    gather(stream, src, pack(stream, weights, false, scratch), options_.bias ? bias : nullptr, summand.data, dst);
}

void DirectConvolution::backward_data(Stream stream, View diff_dst, const float* weights, View diff_src,
                                      void* scratch) {
    require(diff_dst, options_.dst(), options_.dst_type, options_.dst_layout, "diff_dst");
    require(diff_src, options_.src, options_.src_type, options_.src_layout, "diff_src");
    if (last_) return last_data_gradient(stream, options_, diff_dst, weights, diff_src);
    gather(stream, diff_dst, pack(stream, weights, true, scratch), nullptr, nullptr, diff_src);
}

void DirectConvolution::backward_weights(Stream stream, View src, View diff_dst, float* diff_weights, float* diff_bias,
                                         void* scratch) {
    require(src, options_.src, options_.src_type, options_.src_layout, "src");
    require(diff_dst, options_.dst(), options_.dst_type, options_.dst_layout, "diff_dst");
    const Correlation p{src.shape.n,       src.shape.c, diff_dst.shape.c, size_of(src.shape),
                        options_.kernel.d, parts_,      strides_of(src),  strides_of(diff_dst)};
    if (first_) {
        first_weight_gradient(stream, options_, src, diff_dst, diff_weights, scratch);
    } else if (last_) {
        last_weight_gradient(stream, options_, src, diff_dst, diff_weights, scratch);
    } else {
        auto* partial = static_cast<float*>(scratch);
        const LaunchShape shape{{blocks_for(weight_count(), kThreads), static_cast<unsigned>(parts_)}, kThreads};
        with_real(src.type, [&](auto real_src) {
            with_real(diff_dst.type, [&](auto real_diff) {
                using Src = decltype(real_src);
                using Diff = decltype(real_diff);
                launch(correlate_kernel<Src, Diff>, shape, stream, p, src.as<const Src>(), diff_dst.as<const Diff>(),
                       partial);
            });
        });
        join_partial_sums(stream, partial, parts_, weight_count(), diff_weights);
    }
    if (options_.bias && diff_bias) sum_outputs(stream, p, diff_dst, diff_bias, scratch);
}

void DirectConvolution::sum_outputs(Stream stream, const Correlation& p, View diff_dst, float* diff_bias,
                                    void* scratch) const {
    if (diff_dst.layout == Layout::ndhwc || p.outputs == 1) return channel_sum(stream, diff_dst, diff_bias, scratch);
    auto* partial = static_cast<float*>(scratch);
    with_real(diff_dst.type, [&](auto real) {
        using Diff = decltype(real);
        launch(sum_outputs_kernel<Diff>, {{1, static_cast<unsigned>(parts_)}, 32}, stream, p, diff_dst.as<const Diff>(),
               partial);
    });
    join_partial_sums(stream, partial, parts_, p.outputs, diff_bias);
}

}  // namespace

void join_partial_sums(Stream stream, const float* partial, int parts, std::int64_t count, float* sums) {
    launch(join_kernel, {static_cast<unsigned>((count + 31) / 32), kThreads}, stream, partial, parts, count, sums);
}

std::unique_ptr<Convolution> make_direct_convolution(const ConvolutionOptions& options, ConvolutionPasses passes) {
    const auto plain = [](Layout layout) { return layout == Layout::ncdhw || layout == Layout::ndhwc; };
    options.check();
    if (!plain(options.src_layout) || !plain(options.dst_layout))
        throw std::invalid_argument("convolution: expected channels outermost or innermost, not in blocks");
    if (!options.is_plain()) return make_general_convolution(options, passes);
    return std::make_unique<DirectConvolution>(options, passes);
}

}  // namespace iwseg::IWSEG_BACKEND

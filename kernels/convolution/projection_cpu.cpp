#include "kernels/convolution/projection.h"

#include "kernels/convolution/epilogue_block.h"
#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector_clones.h"
#include "kernels/elementwise/elementwise.h"

namespace iwseg::cpu {
namespace {

/// dst[v] += sum over the block of weights[b] * src[v][b]
template <int B, class T>
IWSEG_VECTOR_CLONES void project_chunk(const T* src, std::int64_t voxels, const float* weights, float* dst) {
    for (std::int64_t v = 0; v < voxels; ++v) {
        float sum = 0;
        for (int b = 0; b < B; ++b) sum += weights[b] * to_f32(src[v * B + b]);
        dst[v] += sum;
    }
}

/// What follows, of one channel: one pointer, as of two the compiler would have to ask whether they overlap.
IWSEG_VECTOR_CLONES void apply_in_place(ChannelAffine affine, NormActivation activation, float* values,
                                        std::int64_t count) {
    for (std::int64_t v = 0; v < count; ++v) values[v] = activation(values[v] * affine.scale + affine.shift);
}

/// diff_src[v][b] (+)= weights[b] * diff[v]
template <int B, class T>
IWSEG_VECTOR_CLONES void spread_chunk(const float* diff, std::int64_t voxels, const float* weights, bool first,
                                      T* diff_src) {
    for (std::int64_t v = 0; v < voxels; ++v)
        for (int b = 0; b < B; ++b) {
            T& to = diff_src[v * B + b];
            store(to, (first ? 0.0f : to_f32(to)) + weights[b] * diff[v]);
        }
}

/// sums[b] = sum over v of diff[v] * src[v][b]
template <int B, class T>
IWSEG_VECTOR_CLONES void correlate_chunk(const T* src, const float* diff, std::int64_t voxels, double* sums) {
    constexpr int kSide = 64 / B;  // voxels side by side, to hide the latency of an addition
    float lanes[64] = {};
    const std::int64_t whole = voxels / kSide * kSide;
    for (std::int64_t v = 0; v < whole; v += kSide)
        for (int l = 0; l < 64; ++l) lanes[l] += to_f32(src[v * B + l]) * diff[v + l / B];
    for (std::int64_t i = whole * B; i < voxels * B; ++i) lanes[i - whole * B] += to_f32(src[i]) * diff[i / B];
    for (int b = 0; b < B; ++b) {
        sums[b] = 0;
        for (int l = b; l < 64; l += B) sums[b] += lanes[l];
    }
}

class Projection final : public Convolution {
  public:
    explicit Projection(const ConvolutionOptions& options)
        : options_(options), blocks_(View{nullptr, options.src, options.src_type, options.src_layout}) {}

    std::string implementation() const override { return "projection"; }

    std::int64_t scratch_bytes() const override {
        const std::int64_t partials = blocks_.rows() * chunks() * blocks_.block * options_.dst_channels;
        const Shape dst = options_.dst();
        return std::max<std::int64_t>(partials * static_cast<std::int64_t>(sizeof(double)),
                                      channel_sum_scratch_bytes(dst, Layout::ncdhw));
    }

    bool takes_epilogue() const override { return options_.epilogue.wanted; }
    void use_epilogue(const Epilogue& epilogue) override { epilogue_ = epilogue; }

    void forward(Stream stream, View src, const float* weights, const float* bias, View dst, void*) override {
        const EpilogueForm& form = options_.epilogue;
        each_chunk(stream, blocks_.samples, [&](std::int64_t n, std::int64_t first, std::int64_t voxels) {
            for (std::int64_t o = 0; o < options_.dst_channels; ++o) {
                float* to = dst.as<float>() + (n * options_.dst_channels + o) * blocks_.voxels + first;
                if (options_.write == Write::overwrite)
                    std::fill_n(to, voxels, bias ? bias[o] : 0.0f);
                else if (bias)
                    for (std::int64_t v = 0; v < voxels; ++v) to[v] += bias[o];
                for (std::int64_t b = 0; b < blocks_.blocks; ++b)
                    typed([&](auto real, auto width) {
                        project_chunk<width.value>(at<decltype(real)>(src, n, b, first), voxels,
                                                   block_weights(weights, o, b).data, to);
                    });
                if (form.wanted) {
                    float* const after = form.beside ? epilogue_.beside.as<float>() + (to - dst.as<float>()) : to;
                    if (form.beside) std::copy_n(to, voxels, after);
                    apply_in_place(ChannelAffine(form, epilogue_, o), form.activation, after, voxels);
                }
            }
        });
    }

    void backward_data(Stream stream, View diff_dst, const float* weights, View diff_src, void*) override {
        each_chunk(stream, blocks_.samples, [&](std::int64_t n, std::int64_t first, std::int64_t voxels) {
            for (std::int64_t b = 0; b < blocks_.blocks; ++b)
                for (std::int64_t o = 0; o < options_.dst_channels; ++o)
                    typed([&](auto real, auto width) {
                        spread_chunk<width.value>(
                            diff_dst.as<const float>() + (n * options_.dst_channels + o) * blocks_.voxels + first,
                            voxels, block_weights(weights, o, b).data, o == 0,
                            at<decltype(real)>(diff_src, n, b, first));
                    });
        });
    }

    void backward_weights(Stream stream, View src, View diff_dst, float* diff_weights, float* diff_bias,
                          void* scratch) override {
        auto* partials = static_cast<double*>(scratch);
        const std::int64_t outputs = options_.dst_channels, block = blocks_.block;
        each_chunk(stream, blocks_.rows(), [&](std::int64_t row, std::int64_t first, std::int64_t voxels) {
            const std::int64_t n = row / blocks_.blocks, b = row % blocks_.blocks, chunk = first / chunk_voxels(block);
            for (std::int64_t o = 0; o < outputs; ++o)
                typed([&](auto real, auto width) {
                    correlate_chunk<width.value>(
                        at<decltype(real)>(src, n, b, first),
                        diff_dst.as<const float>() + (n * outputs + o) * blocks_.voxels + first, voxels,
                        partials + ((row * chunks() + chunk) * outputs + o) * block);
                });
        });
        for (std::int64_t o = 0; o < outputs; ++o)
            for (std::int64_t c = 0; c < options_.src.c; ++c) {
                double total = 0;
                for (std::int64_t n = 0; n < blocks_.samples; ++n)
                    for (std::int64_t k = 0; k < chunks(); ++k)
                        total += partials[(((n * blocks_.blocks + c / block) * chunks() + k) * outputs + o) * block +
                                          c % block];
                diff_weights[o * options_.src.c + c] = static_cast<float>(total);
            }
        if (diff_bias) channel_sum(stream, diff_dst, diff_bias, scratch);
    }

  private:
    struct BlockWeights {
        float data[16] = {};
    };

    std::int64_t chunks() const { return chunks_in(blocks_.voxels, blocks_.block); }

    BlockWeights block_weights(const float* weights, std::int64_t o, std::int64_t b) const {
        BlockWeights of;
        for (std::int64_t i = 0; i < blocks_.block && b * blocks_.block + i < options_.src.c; ++i)
            of.data[i] = weights[o * options_.src.c + b * blocks_.block + i];
        return of;
    }

    template <class T>
    T* at(const View& view, std::int64_t n, std::int64_t b, std::int64_t voxel) const {
        return view.as<T>() + ((n * blocks_.blocks + b) * blocks_.voxels + voxel) * blocks_.block;
    }

    template <class Body>
    void typed(Body&& body) const {
        with_real(options_.src_type,
                  [&](auto real) { with_block(blocks_.block, [&](auto width) { body(real, width); }); });
    }

    template <class Body>
    void each_chunk(Stream stream, std::int64_t rows, Body&& body) const {
        const std::int64_t size = chunk_voxels(blocks_.block);
        parallel_for(stream, rows * chunks(), [&](std::int64_t i) {
            const std::int64_t first = i % chunks() * size;
            body(i / chunks(), first, std::min(size, blocks_.voxels - first));
        });
    }

    ConvolutionOptions options_;
    Epilogue epilogue_;
    Blocks blocks_;
};

}  // namespace

bool is_projection(const ConvolutionOptions& options) {
    return options.is_plain() && options.kernel == 1 && options.dst_layout == Layout::ncdhw &&
           options.dst_type == Type::f32 && options.dst_channels < 8;
}

std::unique_ptr<Convolution> make_projection(const ConvolutionOptions& options) {
    if (!options.is_plain() || options.kernel != 1 || options.dst_layout != Layout::ncdhw ||
        options.dst_type != Type::f32)
        throw std::invalid_argument("projection: expected a kernel of 1 and an f32 result in ncdhw");
    return std::make_unique<Projection>(options);
}

}  // namespace iwseg::cpu

#include "kernels/convolution/row_convolution.h"

#include <algorithm>
#include <stdexcept>

#include "base/bytes.h"
#include "kernels/convolution/epilogue_block.h"
#include "kernels/convolution/row_tile.h"
#include "kernels/convolution/weight_gradient.h"
#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector_clones.h"
#include "kernels/elementwise/elementwise.h"

// The gradient of the source is a convolution too, of the result's gradient with the kernel mirrored and its channels
// exchanged, so both run the same code. Weights are packed at each call, as they change at each step: a tenth of a
// percent of the work.
namespace iwseg::cpu {
namespace {

constexpr std::int64_t kTaps = 27;

/// Weights as a pass reads them: from which channels to which, and whether mirrored.
struct Packing {
    std::int64_t inputs, outputs, block;
    bool mirrored, rounded;  ///< rounded to bf16

    std::int64_t input_blocks() const { return (inputs + block - 1) / block; }
    std::int64_t output_blocks() const { return (outputs + block - 1) / block; }
    std::int64_t elements() const { return input_blocks() * output_blocks() * kTaps * block * block; }
};

/// One pair of blocks: (O, C, 27), channels of the convolution's own result and source, to (kd, kh, input, kw, output).
void pack_pair(const Packing& p, const float* weights, std::int64_t output_block, std::int64_t input_block,
               float* packed) {
    std::fill_n(packed, kTaps * p.block * p.block, 0.0f);
    const std::int64_t outputs = std::min(p.block, p.outputs - output_block * p.block);
    const std::int64_t inputs = std::min(p.block, p.inputs - input_block * p.block);
    for (std::int64_t o = 0; o < outputs; ++o)
        for (std::int64_t i = 0; i < inputs; ++i) {
            const std::int64_t output = output_block * p.block + o, input = input_block * p.block + i;
            const float* from = weights + (p.mirrored ? input * p.outputs + output : output * p.inputs + input) * kTaps;
            for (std::int64_t tap = 0; tap < kTaps; ++tap) {
                const float value = from[p.mirrored ? kTaps - 1 - tap : tap];
                packed[((tap / 3 * p.block + i) * 3 + tap % 3) * p.block + o] =
                    p.rounded ? round_to_bf16(value) : value;
            }
        }
}

void pack(Stream stream, const Packing& p, const float* weights, float* packed) {
    const std::int64_t pairs = p.output_blocks() * p.input_blocks();
    parallel_for(stream, pairs, [&](std::int64_t pair) {
        pack_pair(p, weights, pair / p.input_blocks(), pair % p.input_blocks(),
                  packed + pair * kTaps * p.block * p.block);
    });
}

/// What becomes of the sums of a tile's row.
template <int B, class T, bool kAccumulate>
IWSEG_VECTOR_CLONES void finish_row(const float* sums, std::int64_t voxels, const float* bias, T* dst) {
    for (std::int64_t v = 0; v < voxels; ++v)
        for (int b = 0; b < B; ++b) {
            const float value = sums[v * B + b] + bias[b];
            store(dst[v * B + b], kAccumulate ? to_f32(dst[v * B + b]) + value : value);
        }
}

struct Pass {
    View src, dst;         ///< src of f32
    const float* weights;  ///< packed
    const float* bias;     ///< of the plain channels, or null
    bool accumulate;
    EpilogueForm form = {};
    Epilogue epilogue = {};
};

/// One plane of one block of output channels.
template <int B, class T>
void run_plane(const Pass& pass, const Blocks& from, const Blocks& to, std::int64_t block, std::int64_t n,
               std::int64_t z) {
    const Shape& shape = pass.dst.shape;
    const RowTileInput input{pass.src.as<const float>() + n * from.blocks * from.voxels * B,
                             pass.weights + block * from.blocks * kTaps * B * B,
                             from.blocks,
                             shape.d,
                             shape.h,
                             shape.w};
    float bias[B] = {};
    for (std::int64_t b = 0; pass.bias && b < B && block * B + b < shape.c; ++b) bias[b] = pass.bias[block * B + b];
    const std::int64_t first = ((n * to.blocks + block) * shape.d + z) * shape.h * shape.w * B;
    T* const plane = pass.dst.as<T>() + first;
    T* const after = pass.form.beside ? pass.epilogue.beside.as<T>() + first : nullptr;
    const auto finish = pass.accumulate ? finish_row<B, T, true> : finish_row<B, T, false>;
    const auto finish_after = pass.accumulate ? finish_with<B, T, true> : finish_with<B, T, false>;
    const auto epilogue =
        pass.form.wanted ? BlockEpilogue<B>(pass.form, pass.epilogue, pass.bias, block, shape.c) : BlockEpilogue<B>();
    const RowTileSize largest = largest_row_tile(shape.w);
    const std::int64_t across = (shape.w + largest.voxels - 1) / largest.voxels;
    alignas(kMemoryAlignment) float sums[kRowTileVoxels * B];
    for (std::int64_t y = 0; y < shape.h; y += largest.rows)
        for (std::int64_t k = 0; k < across; ++k) {
            const std::int64_t x = k * shape.w / across, voxels = (k + 1) * shape.w / across - x;
            row_tile(B, {largest.rows, static_cast<int>(voxels)})(input, {z, y, x}, sums);
            for (std::int64_t r = 0; r < largest.rows && y + r < shape.h; ++r) {
                const float* const row = sums + r * voxels * B;
                const std::int64_t at = ((y + r) * shape.w + x) * B;
                if (pass.form.wanted)
                    finish_after(epilogue, row, voxels, plane + at, after ? after + at : nullptr);
                else
                    finish(row, voxels, bias, plane + at);
            }
        }
}

void run(Stream stream, const Pass& pass) {
    const Blocks from(pass.src), to(pass.dst);
    const std::int64_t depth = pass.dst.shape.d, planes = to.blocks * to.samples * depth;
    with_real(pass.dst.type, [&](auto real) {
        with_block(to.block, [&](auto width) {
            if constexpr (width > 1) {
                parallel_for(stream, planes, [&](std::int64_t i) {
                    run_plane<width, decltype(real)>(pass, from, to, i / depth / to.samples, i / depth % to.samples,
                                                     i % depth);
                });
            }
        });
    });
}

class RowConvolution final : public Convolution {
  public:
    RowConvolution(const ConvolutionOptions& options, ConvolutionPasses passes);

    std::string implementation() const override {
        return options_.src_type == Type::bf16 ? "rows, bf16 widened" : "rows";
    }
    std::int64_t scratch_bytes() const override { return places_.end; }
    bool takes_epilogue() const override { return options_.epilogue.wanted; }
    void use_epilogue(const Epilogue& epilogue) override { epilogue_ = epilogue; }
    void forward(Stream, View src, const float* weights, const float* bias, View dst, void* scratch) override;
    void backward_data(Stream, View diff_dst, const float* weights, View diff_src, void* scratch) override;
    void backward_weights(Stream, View src, View diff_dst, float* diff_weights, float* diff_bias,
                          void* scratch) override;

  private:
    /// Where things lie in scratch: bytes from its start.
    struct Places {
        std::int64_t src, dst, rest, end;
    };

    Packing packing(bool mirrored) const;
    View widened(Stream stream, View view, std::int64_t place, char* scratch) const;

    ConvolutionOptions options_;
    Epilogue epilogue_;
    Places places_{};
};

RowConvolution::RowConvolution(const ConvolutionOptions& options, ConvolutionPasses passes) : options_(options) {
    const auto bytes = [&](const Shape& shape) { return aligned(bytes_of(shape, Type::f32, options.dst_layout)); };
    const bool narrow = options.src_type == Type::bf16;
    std::int64_t rest = packing(false).elements() * bytes_of(Type::f32);
    if (passes.backward_weights)
        rest = std::max({rest, channel_sum_scratch_bytes(options.dst(), options.dst_layout),
                         weight_gradient_scratch_bytes(options.src, options.dst_channels, 3, options.dst_layout)});
    places_.dst = narrow ? bytes(options.src) : 0;
    places_.rest =
        places_.dst + (narrow && (passes.backward_data || passes.backward_weights) ? bytes(options.dst()) : 0);
    places_.end = places_.rest + aligned(rest);
}

Packing RowConvolution::packing(bool mirrored) const {
    const std::int64_t inputs = options_.src.c, outputs = options_.dst_channels;
    return {mirrored ? outputs : inputs, mirrored ? inputs : outputs, block_of(options_.dst_layout, outputs), mirrored,
            options_.src_type == Type::bf16};
}

/// The tensor itself, or its copy as f32.
View RowConvolution::widened(Stream stream, View view, std::int64_t place, char* scratch) const {
    if (view.type == Type::f32) return view;
    const View wide{scratch + place, view.shape, Type::f32, view.layout};
    copy(stream, view, wide);
    return wide;
}

void RowConvolution::forward(Stream stream, View src, const float* weights, const float* bias, View dst,
                             void* scratch) {
    auto* base = static_cast<char*>(scratch);
    auto* packed = reinterpret_cast<float*>(base + places_.rest);
    pack(stream, packing(false), weights, packed);
    run(stream, {widened(stream, src, places_.src, base), dst, packed, options_.bias ? bias : nullptr,
                 options_.write == Write::accumulate, options_.epilogue, epilogue_});
}

void RowConvolution::backward_data(Stream stream, View diff_dst, const float* weights, View diff_src, void* scratch) {
    auto* base = static_cast<char*>(scratch);
    auto* packed = reinterpret_cast<float*>(base + places_.rest);
    pack(stream, packing(true), weights, packed);
    run(stream, {widened(stream, diff_dst, places_.dst, base), diff_src, packed, nullptr, false});
}

void RowConvolution::backward_weights(Stream stream, View src, View diff_dst, float* diff_weights, float* diff_bias,
                                      void* scratch) {
    auto* base = static_cast<char*>(scratch);
    weight_gradient(stream, widened(stream, src, places_.src, base), widened(stream, diff_dst, places_.dst, base), 3,
                    diff_weights, base + places_.rest);
    if (diff_bias) channel_sum(stream, diff_dst, diff_bias, base + places_.rest);
}

}  // namespace

bool row_convolution_works(const ConvolutionOptions& options) {
    return options.is_plain() && options.kernel == 3 && options.src_layout == options.dst_layout &&
           (options.dst_layout == Layout::blocked8 || options.dst_layout == Layout::blocked16) && row_tiles_work();
}

std::unique_ptr<Convolution> make_row_convolution(const ConvolutionOptions& options, ConvolutionPasses passes) {
    if (!row_convolution_works(options))
        throw std::invalid_argument(
            "row convolution: expected a kernel of 3, blocked tensors and a processor with AVX-512");
    return std::make_unique<RowConvolution>(options, passes);
}

}  // namespace iwseg::cpu

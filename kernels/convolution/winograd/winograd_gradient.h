#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/convolution/geometry.h"
#include "kernels/convolution/winograd/gradient_product.h"
#include "kernels/convolution/winograd/tile_regions.h"
#include "kernels/device/declare.h"

namespace iwseg::cpu {

/// The gradient of the weights of a 3x3x3 or 1x3x3 convolution by the transposed form of F(2x2, 3x3): with the
/// transforms of transforms.h, a tile's share is G' ((B' d B) * (A y A')) G, y being the result's gradient. Positions
/// are summed over all tiles first, 16 multiplications a tile and depth where the direct sum has 36, and transformed
/// back once.
///
/// Work is cut into items by shape alone: for up to four blocks of inputs and of outputs, whose sums (48 x 64 x 64,
/// 786 KB) stay in the second cache, some of the volume's tiles, which an item passes in steps as winograd_pass.h has
/// it. Each item has sums of its own, which are added up in double precision in the items' order.
class WinogradGradient {
  public:
    /// type: of both tensors. threads: that run() will have; with more, others than so many have nothing to do.
    WinogradGradient(const ConvolutionGeometry& geometry, Type type, std::int64_t block, Vectors vectors, int threads);

    /// Of items' sums and of what each thread has of an item.
    std::int64_t scratch_bytes() const;
    /// diff_weights: the convolution's own (O, C, kernel), overwritten.
    void run(Stream stream, View src, View diff_dst, float* diff_weights, float* scratch) const;

  private:
    /// Blocks of channels, from a first to before a last, and steps.
    struct Item {
        std::int64_t first_input, last_input, first_output, last_output, first_step, last_step;
        float* sums;  ///< (position, depth, input block, output block, L inputs, L outputs)
    };
    struct Step;
    struct Buffers;

    std::int64_t plane_steps() const { return parts_of(regions_.planes(), regions_.step_planes); }
    std::int64_t steps() const { return regions_.count() * plane_steps(); }
    std::int64_t items() const { return input_parts_ * output_parts_ * ranges_; }
    /// Elements of all sums of a range.
    std::int64_t range_elements() const;
    Item item(std::int64_t index, float* sums) const;
    Step step(std::int64_t index) const;
    /// Of all buffers of a thread, whichever item it has.
    std::int64_t worker_elements() const;
    Buffers buffers_of(const Item& item, float* memory) const;
    void run_item(const std::byte* src, const std::byte* diff, const Item& item, float* memory) const;
    void multiply(const Item& item, const Step& step, const Buffers& buffers) const;
    void add_up(std::int64_t output_block, std::int64_t input_block, const float* sums, float* diff_weights) const;

    ConvolutionGeometry geometry_;
    Type type_;
    std::int64_t block_;
    Vectors vectors_;
    WinogradTransforms transforms_;
    std::int64_t input_blocks_, output_blocks_;
    TileRegions regions_;
    std::int64_t input_parts_, output_parts_, ranges_, workers_;
};

}  // namespace iwseg::cpu

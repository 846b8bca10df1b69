#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/cuda/matrix_product.h"
#include "kernels/elementwise/linear_layer.h"

namespace iwseg::cuda {

enum class LinearPass : std::uint8_t { forward, data, weights };
inline constexpr LinearPass kLinearPasses[] = {LinearPass::forward, LinearPass::data, LinearPass::weights};

/// In one line, unique: what messages and the file of chosen plans call it.
std::string name_of(const LinearForm& form, LinearPass pass);

/// The product of matrices that a pass is. It is one of f32 in bf16 too: weights stay what they are, as they are in our
/// own kernels.
MatrixProductForm product_of(const LinearForm& form, LinearPass pass);

/// A layer whose passes are products by cuBLASLt, but for those without one, which are our own kernels'.
class LinearProducts final : public LinearLayer {
  public:
    using Products = std::array<std::optional<MatrixProduct>, 3>;

    LinearProducts(const LinearForm& form, Products products);

    std::string implementation() const override;
    std::int64_t scratch_bytes() const override { return scratch_bytes_; }
    void forward(Stream stream, View x, const float* weights, const float* bias, View y, void* scratch) const override;
    void backward_data(Stream stream, View diff_y, const float* weights, View diff_x, Write write,
                       void* scratch) const override;
    void backward_weights(Stream stream, View x, View diff_y, float* diff_weights, float* diff_bias,
                          void* scratch) const override;

  private:
    const std::optional<MatrixProduct>& product(LinearPass pass) const {
        return products_[static_cast<std::size_t>(pass)];
    }

    Products products_;
    std::int64_t outputs_at_ = 0, rest_at_ = 0, scratch_bytes_ = 0;  ///< of scratch: inputs and outputs in f32 first
};

}  // namespace iwseg::cuda

#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/device/declare.h"
#include "kernels/device/view.h"

// Products of matrices by cuBLASLt. All matrices lie row after row, those of a batch one after the other. No vendor
// header is needed to include this.
namespace iwseg::cuda {

/// result (rows, columns) = a (rows, inner) · b (inner, columns), for each of a batch; sums are f32.
struct MatrixProductForm {
    std::int64_t rows = 1, inner = 1, columns = 1;
    int batch = 1;
    Type type = Type::f32;                        ///< of a and b
    Type result_type = Type::f32;                 ///< of the result, a summand and a bias
    bool a_transposed = false;                    ///< a lies as (inner, rows)
    bool b_transposed = false;                    ///< b lies as (columns, inner)
    bool bias = false;                            ///< + an element for each column
    bool tf32 = false;                            ///< f32 operands may be rounded to 10 bits of fraction
    int b_alignment = 16, result_alignment = 16;  ///< bytes; a summand's is the result's, all others' 16
};

/// Addresses on the device.
struct MatrixOperands {
    const void *a = nullptr, *b = nullptr;
    const void* bias = nullptr;
    const void* summand = nullptr;  ///< lies like the result, and may be it; null: nothing is added
    void* result = nullptr;
    void* workspace = nullptr;
};

/// A product by one of cuBLASLt's algorithms.
class MatrixProduct {
  public:
    /// As files of chosen plans have it: the algorithm and cuBLASLt's version, without a space.
    std::string text() const;
    std::int64_t workspace_bytes() const { return workspace_bytes_; }
    /// Queues it. Throws std::runtime_error where cuBLASLt refuses.
    void run(Stream stream, const MatrixOperands& operands) const;

  private:
    struct Description;
    using Algorithm = std::array<std::uint64_t, 8>;

    MatrixProduct(std::shared_ptr<const Description> description, const Algorithm& algorithm,
                  std::int64_t workspace_bytes)
        : description_(std::move(description)), algorithm_(algorithm), workspace_bytes_(workspace_bytes) {}

    friend std::vector<MatrixProduct> matrix_products(const MatrixProductForm&);
    friend std::optional<MatrixProduct> matrix_product(const MatrixProductForm&, const std::string&);

    std::shared_ptr<const Description> description_;
    Algorithm algorithm_;
    std::int64_t workspace_bytes_;
};

/// By the algorithms that sum in a fixed order, the likely fastest first; empty where cuBLASLt has none. Throws
/// std::runtime_error where it fails.
std::vector<MatrixProduct> matrix_products(const MatrixProductForm& form);
/// By the algorithm of a text; nothing where it is none of this version's, or does not take the product.
std::optional<MatrixProduct> matrix_product(const MatrixProductForm& form, const std::string& text);

}  // namespace iwseg::cuda

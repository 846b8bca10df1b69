#include "kernels/cuda/matrix_product.h"

#include <cublasLt.h>

#include <charconv>
#include <cstring>
#include <stdexcept>

#include "kernels/cuda/launch.h"

// cuBLASLt's matrices lie column after column. Ours, read so, are transposed: result^T = b^T · a^T, of which cuBLASLt's
// A is our b and its B our a.
namespace iwseg::cuda {
namespace {

/// How many of its heuristics' proposals are tried, and what they may take: NVIDIA's advice for Hopper.
constexpr int kMostAlgorithms = 8;
constexpr std::uint64_t kMostWorkspace = std::uint64_t{32} << 20;
/// One sum after the other, or parts that a second step adds up in f32, in their order. Those that add to the result
/// itself depend on who comes first, and those that add up parts of the result's type round more than asked for.
constexpr std::uint32_t kFixedOrder = CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
constexpr int kUsualAlignment = 16;
constexpr const char* kPrefix = "cublaslt";

void check(cublasStatus_t status, const char* operation) {
    if (status != CUBLAS_STATUS_SUCCESS)
        throw std::runtime_error(std::string("cuBLASLt failed while ") + operation + ": " +
                                 cublasLtGetStatusString(status));
}

struct Released {
    void operator()(cublasLtHandle_t handle) const { cublasLtDestroy(handle); }
    void operator()(cublasLtMatmulDesc_t product) const { cublasLtMatmulDescDestroy(product); }
    void operator()(cublasLtMatrixLayout_t layout) const { cublasLtMatrixLayoutDestroy(layout); }
    void operator()(cublasLtMatmulPreference_t preference) const { cublasLtMatmulPreferenceDestroy(preference); }
};
template <class Pointer>
using Owned = std::unique_ptr<std::remove_pointer_t<Pointer>, Released>;

cudaDataType blas_type(Type type) {
    return type == Type::bf16 ? CUDA_R_16BF : CUDA_R_32F;
}

/// What products share while any of them lives.
std::shared_ptr<std::remove_pointer_t<cublasLtHandle_t>> shared_handle() {
    static std::weak_ptr<std::remove_pointer_t<cublasLtHandle_t>> living;
    auto handle = living.lock();
    if (handle) return handle;
    cublasLtHandle_t made = nullptr;
    check(cublasLtCreate(&made), "making a handle");
    handle = {made, Released()};
    living = handle;
    return handle;
}

template <class T>
void set(cublasLtMatmulDesc_t product, cublasLtMatmulDescAttributes_t attribute, const T& value) {
    check(cublasLtMatmulDescSetAttribute(product, attribute, &value, sizeof value), "describing a product");
}
template <class T>
void set(cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t attribute, const T& value) {
    check(cublasLtMatrixLayoutSetAttribute(layout, attribute, &value, sizeof value), "describing a matrix");
}
template <class T>
void set(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute, const T& value) {
    check(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value), "describing a search");
}

/// Of a matrix that lies as (rows, columns), row after row.
Owned<cublasLtMatrixLayout_t> layout_of(Type type, std::int64_t rows, std::int64_t columns, std::int32_t batch) {
    cublasLtMatrixLayout_t made = nullptr;
    check(cublasLtMatrixLayoutCreate(&made, blas_type(type), static_cast<std::uint64_t>(columns),
                                     static_cast<std::uint64_t>(rows), columns),
          "describing a matrix");
    Owned<cublasLtMatrixLayout_t> layout(made);
    if (batch == 1) return layout;
    set(made, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, batch);
    set(made, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, rows * columns);
    return layout;
}

Owned<cublasLtMatmulDesc_t> description_of(const MatrixProductForm& form) {
    cublasLtMatmulDesc_t made = nullptr;
    const bool rounds = form.type == Type::f32 && form.tf32;
    check(cublasLtMatmulDescCreate(&made, rounds ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F),
          "describing a product");
    Owned<cublasLtMatmulDesc_t> product(made);
    const auto turned = [](bool transposed) { return std::int32_t{transposed ? CUBLAS_OP_T : CUBLAS_OP_N}; };
    set(made, CUBLASLT_MATMUL_DESC_TRANSA, turned(form.b_transposed));
    set(made, CUBLASLT_MATMUL_DESC_TRANSB, turned(form.a_transposed));
    if (form.bias) set(made, CUBLASLT_MATMUL_DESC_EPILOGUE, std::uint32_t{CUBLASLT_EPILOGUE_BIAS});
    return product;
}

Owned<cublasLtMatmulPreference_t> preference_of(const MatrixProductForm& form) {
    cublasLtMatmulPreference_t made = nullptr;
    check(cublasLtMatmulPreferenceCreate(&made), "describing a search");
    Owned<cublasLtMatmulPreference_t> preference(made);
    set(made, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kMostWorkspace);
    set(made, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, kFixedOrder);
    const auto alignment = [](int bytes) { return static_cast<std::uint32_t>(bytes); };
    set(made, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(form.b_alignment));
    set(made, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(kUsualAlignment));
    set(made, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment(form.result_alignment));
    set(made, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment(form.result_alignment));
    return preference;
}

std::string prefix() {
    return kPrefix + std::to_string(cublasLtGetVersion()) + ":";
}

/// The words of an algorithm's text; nothing where it is no such text.
std::optional<std::array<std::uint64_t, 8>> words_of(const std::string& text) {
    const std::string before = prefix();
    if (!text.starts_with(before)) return std::nullopt;
    std::array<std::uint64_t, 8> words{};
    const char *at = text.data() + before.size(), *const end = text.data() + text.size();
    for (std::uint64_t& word : words) {
        const auto [behind, error] = std::from_chars(at, end, word, 16);
        if (error != std::errc()) return std::nullopt;
        if (behind == end) return words;
        if (*behind != ',') return std::nullopt;
        at = behind + 1;
    }
    return std::nullopt;
}

}  // namespace

struct MatrixProduct::Description {
    MatrixProductForm form;
    std::shared_ptr<std::remove_pointer_t<cublasLtHandle_t>> handle;
    Owned<cublasLtMatmulDesc_t> product;
    Owned<cublasLtMatrixLayout_t> a, b, result;

    explicit Description(const MatrixProductForm& of)
        : form(of),
          handle(shared_handle()),
          product(description_of(of)),
          a(of.a_transposed ? layout_of(of.type, of.inner, of.rows, of.batch)
                            : layout_of(of.type, of.rows, of.inner, of.batch)),
          b(of.b_transposed ? layout_of(of.type, of.columns, of.inner, of.batch)
                            : layout_of(of.type, of.inner, of.columns, of.batch)),
          result(layout_of(of.result_type, of.rows, of.columns, of.batch)) {}
};

// ----------------------------------------------------------------------------------------------------------------------

std::string MatrixProduct::text() const {
    std::size_t count = algorithm_.size();
    while (count > 1 && algorithm_[count - 1] == 0) --count;
    std::string text = prefix();
    for (std::size_t i = 0; i < count; ++i) {
        char digits[16];
        const auto [behind, error] = std::to_chars(digits, digits + sizeof digits, algorithm_[i], 16);
        text.append(i ? "," : "").append(digits, behind);
    }
    return text;
}

void MatrixProduct::run(Stream stream, const MatrixOperands& operands) const {
    const Description& d = *description_;
    const float one = 1, beta = operands.summand ? 1.0f : 0.0f;
    if (d.form.bias) set(d.product.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, operands.bias);
    cublasLtMatmulAlgo_t algorithm;
    static_assert(sizeof algorithm == sizeof algorithm_);
    std::memcpy(&algorithm, algorithm_.data(), sizeof algorithm);
    check(cublasLtMatmul(d.handle.get(), d.product.get(), &one, operands.b, d.b.get(), operands.a, d.a.get(), &beta,
                         operands.summand ? operands.summand : operands.result, d.result.get(), operands.result,
                         d.result.get(), &algorithm, operands.workspace, static_cast<std::size_t>(workspace_bytes_),
                         static_cast<cudaStream_t>(stream.handle)),
          "multiplying matrices");
}

std::vector<MatrixProduct> matrix_products(const MatrixProductForm& form) {
    const auto description = std::make_shared<const MatrixProduct::Description>(form);
    const auto preference = preference_of(form);
    std::array<cublasLtMatmulHeuristicResult_t, kMostAlgorithms> found{};
    int count = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
        description->handle.get(), description->product.get(), description->b.get(), description->a.get(),
        description->result.get(), description->result.get(), preference.get(), kMostAlgorithms, found.data(), &count);
    std::vector<MatrixProduct> products;
    // What a card has none for is not answered alike by all versions.
    if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_ARCH_MISMATCH ||
        status == CUBLAS_STATUS_INVALID_VALUE)
        return products;
    check(status, "asking for algorithms");
    for (int i = 0; i < count; ++i) {
        const cublasLtMatmulHeuristicResult_t& one = found[static_cast<std::size_t>(i)];
        if (one.state != CUBLAS_STATUS_SUCCESS) continue;
        MatrixProduct::Algorithm words;
        std::memcpy(words.data(), &one.algo, sizeof one.algo);
        products.push_back({description, words, static_cast<std::int64_t>(one.workspaceSize)});
    }
    return products;
}

std::optional<MatrixProduct> matrix_product(const MatrixProductForm& form, const std::string& text) {
    const auto words = words_of(text);
    if (!words) return std::nullopt;
    const auto description = std::make_shared<const MatrixProduct::Description>(form);
    cublasLtMatmulAlgo_t algorithm;
    std::memcpy(&algorithm, words->data(), sizeof algorithm);
    cublasLtMatmulHeuristicResult_t found{};
    const cublasStatus_t status = cublasLtMatmulAlgoCheck(
        description->handle.get(), description->product.get(), description->b.get(), description->a.get(),
        description->result.get(), description->result.get(), &algorithm, &found);
    if (status != CUBLAS_STATUS_SUCCESS || found.workspaceSize > kMostWorkspace) return std::nullopt;
    return MatrixProduct(description, *words, static_cast<std::int64_t>(found.workspaceSize));
}

}  // namespace iwseg::cuda

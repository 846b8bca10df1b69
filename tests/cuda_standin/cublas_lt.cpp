// cuBLASLt: a product of matrices, described, searched for and computed by plain loops, with the faults its algorithm
// is said to have.
#include <cublasLt.h>

#include <bit>
#include <cstring>
#include <optional>
#include <sstream>
#include <stdexcept>

#include "kernels/device/bf16.h"
#include "tests/cuda_standin/product_algorithms.h"
#include "tests/cuda_standin/queue.h"

using namespace iwseg;
using namespace iwseg::standin;

struct cublasLtContext {};
struct cublasLtMatmulDescOpaque_t {
    cublasComputeType_t compute;
    std::int32_t turned_a = CUBLAS_OP_N, turned_b = CUBLAS_OP_N;
    std::uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    const void* bias = nullptr;
};
struct cublasLtMatrixLayoutOpaque_t {
    cudaDataType type;
    std::int64_t rows, columns, ld;
    std::int32_t batch = 1;
    std::int64_t offset = 0;

    std::int64_t element_bytes() const { return type == CUDA_R_16BF ? 2 : 4; }
    std::int64_t bytes() const { return ((batch - 1) * offset + (columns - 1) * ld + rows) * element_bytes(); }
};
struct cublasLtMatmulPreferenceOpaque_t {
    std::uint64_t workspace = 0;
    std::uint32_t schemes = 7, a = 256, b = 256, c = 256, d = 256;
};

namespace iwseg::standin {
namespace {

struct Offer {
    std::vector<ProductAlgorithm> algorithms = usual_algorithms();
    std::map<std::uint64_t, std::int64_t> runs = {};
    std::size_t version = 130100;
};

Offer& offer() {
    static Offer one;
    return one;
}

const ProductAlgorithm* algorithm_of(std::uint64_t id) {
    for (const ProductAlgorithm& one : offer().algorithms)
        if (one.id == id) return &one;
    return nullptr;
}

template <class T>
cublasStatus_t take(T& into, const void* value, std::size_t bytes) {
    if (!value || bytes != sizeof into) return CUBLAS_STATUS_INVALID_VALUE;
    std::memcpy(&into, value, sizeof into);
    return CUBLAS_STATUS_SUCCESS;
}

template <class T>
cublasStatus_t make(T** to, T&& one) {
    *to = new T(std::forward<T>(one));
    ++card().alive.descriptors;
    return CUBLAS_STATUS_SUCCESS;
}

template <class T>
cublasStatus_t destroy(const Call& call, T* one) {
    --card().alive.descriptors;
    delete one;
    return call.failure() ? CUBLAS_STATUS_INTERNAL_ERROR : CUBLAS_STATUS_SUCCESS;
}

/// A product as cuBLASLt reads it: D (rows, columns) = A (rows, inner) B (inner, columns).
struct Product {
    cublasLtMatmulDescOpaque_t how;
    cublasLtMatrixLayoutOpaque_t a, b, c, d;

    bool turns_a() const { return how.turned_a == CUBLAS_OP_T; }
    bool turns_b() const { return how.turned_b == CUBLAS_OP_T; }
    std::int64_t inner() const { return turns_a() ? a.rows : a.columns; }
    bool adds_bias() const { return how.epilogue == CUBLASLT_EPILOGUE_BIAS; }
    bool rounds() const { return how.compute == CUBLAS_COMPUTE_32F_FAST_TF32; }

    /// Of cuBLASLt's documentation of cublasLtMatmul: what sides and types go together.
    const char* wrong() const {
        const std::int64_t rows = turns_a() ? a.columns : a.rows, columns = turns_b() ? b.rows : b.columns;
        if (rows != d.rows || columns != d.columns || inner() != (turns_b() ? b.columns : b.rows))
            return "sides that do not match";
        if (c.rows != d.rows || c.columns != d.columns || c.ld != d.ld || c.type != d.type)
            return "a summand of another form";
        for (const auto& one : {a, b, c, d}) {
            if (one.batch != d.batch || one.batch < 1) return "batches of different counts";
            if (one.ld < one.rows || one.rows < 1 || one.columns < 1) return "a leading side that is too small";
        }
        if (d.batch > 1 && d.offset < (d.columns - 1) * d.ld + d.rows) return "results of a batch that overlap";
        if (a.type != b.type || (a.type == CUDA_R_32F && d.type != CUDA_R_32F)) return "types that do not match";
        if (rounds() && a.type != CUDA_R_32F) return "TF32 of other operands than f32";
        return nullptr;
    }
};

float to_tf32(float value) {
    auto bits = std::bit_cast<std::uint32_t>(value);
    if ((bits & 0x7F800000u) == 0x7F800000u) return value;
    bits = (bits + 0xFFFu + (bits >> 13 & 1u)) & ~0x1FFFu;
    return std::bit_cast<float>(bits);
}

float read(const void* from, cudaDataType type, std::int64_t at) {
    return type == CUDA_R_16BF ? to_f32(static_cast<const Bf16*>(from)[at]) : static_cast<const float*>(from)[at];
}

void write(float value, cudaDataType type, void* to, std::int64_t at) {
    if (type == CUDA_R_16BF)
        store(static_cast<Bf16*>(to)[at], value);
    else
        static_cast<float*>(to)[at] = value;
}

struct Operands {
    const void *a, *b, *c;
    void* d;
    float alpha, beta;
};

void compute(const Product& p, const Operands& at, bool rounds) {
    const auto operand = [&](const void* from, const auto& layout, std::int64_t place) {
        const float value = read(from, layout.type, place);
        return double{rounds ? to_tf32(value) : value};
    };
    for (std::int64_t batch = 0; batch < p.d.batch; ++batch)
        for (std::int64_t column = 0; column < p.d.columns; ++column)
            for (std::int64_t row = 0; row < p.d.rows; ++row) {
                double sum = 0;
                for (std::int64_t k = 0; k < p.inner(); ++k) {
                    const std::int64_t of_a = p.turns_a() ? row * p.a.ld + k : k * p.a.ld + row,
                                       of_b = p.turns_b() ? k * p.b.ld + column : column * p.b.ld + k;
                    sum +=
                        operand(at.a, p.a, batch * p.a.offset + of_a) * operand(at.b, p.b, batch * p.b.offset + of_b);
                }
                const std::int64_t place = column * p.d.ld + row;
                double value = at.alpha * sum;
                if (at.beta != 0) value += at.beta * read(at.c, p.c.type, batch * p.c.offset + place);
                if (p.adds_bias()) value += read(p.how.bias, p.d.type, row);
                write(static_cast<float>(value), p.d.type, at.d, batch * p.d.offset + place);
            }
}

/// The faults of an algorithm, on a result that was right.
void spoil(const ProductAlgorithm& algorithm, const cublasLtMatrixLayoutOpaque_t& d, void* result) {
    const std::int64_t count = d.bytes() / d.element_bytes();
    const auto change = [&](std::int64_t at) {
        if (d.type == CUDA_R_16BF)
            static_cast<std::uint16_t*>(result)[at] ^= 0x0041u;
        else
            static_cast<std::uint32_t*>(result)[at] ^= 0x00400001u;
    };
    if (algorithm.wrong_from >= 0 && count >= algorithm.wrong_from) change(count - 1);
    if (algorithm.varies && count > 2)
        change(1 + static_cast<std::int64_t>(card().random() % static_cast<std::uint64_t>(count - 2)));
}

/// Alignments that were promised when an algorithm was searched for, in one word of it.
std::uint64_t promise(const cublasLtMatmulPreferenceOpaque_t& p) {
    return p.a | std::uint64_t{p.b} << 16 | std::uint64_t{p.c} << 32 | std::uint64_t{p.d} << 48;
}
bool is_kept(std::uint64_t promised, int matrix, const void* address) {
    const std::uint64_t bytes = promised >> (16 * matrix) & 0xFFFFu;
    return bytes > 0 && reinterpret_cast<std::uintptr_t>(address) % bytes == 0;
}

cublasStatus_t refuse(const char* function, const char* why) {
    card().problem(std::string(function) + ": " + why);
    return CUBLAS_STATUS_INVALID_VALUE;
}

}  // namespace

std::vector<ProductAlgorithm> usual_algorithms() {
    return {{.id = 21, .seconds = 5e-4, .workspace_bytes = 2048, .alignment = 16, .reduction = 2},
            {.id = 7, .seconds = 7e-4, .alignment = 4}};
}
void offer_algorithms(std::vector<ProductAlgorithm> algorithms, std::size_t version) {
    offer() = {std::move(algorithms), {}, version};
}
std::map<std::uint64_t, std::int64_t> algorithm_runs() {
    return offer().runs;
}

}  // namespace iwseg::standin

// ----------------------------------------------------------------------------------------------------------------------

const char* cublasLtGetStatusString(cublasStatus_t status) {
    return cublasGetStatusString(status);
}
std::size_t cublasLtGetVersion() {
    return offer().version;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
    const Call call("cublasLtCreate");
    if (call.failure()) return CUBLAS_STATUS_ALLOC_FAILED;
    *handle = new cublasLtContext;
    ++card().alive.blas_handles;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
    const Call call("cublasLtDestroy");
    --card().alive.blas_handles;
    delete handle;
    return call.failure() ? CUBLAS_STATUS_INTERNAL_ERROR : CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* product, cublasComputeType_t compute,
                                        cudaDataType scale) {
    const Call call("cublasLtMatmulDescCreate");
    if (call.failure()) return CUBLAS_STATUS_ALLOC_FAILED;
    if (scale != CUDA_R_32F) return refuse("cublasLtMatmulDescCreate", "factors of another type than f32");
    return make(product, cublasLtMatmulDescOpaque_t{compute});
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t product) {
    return destroy(Call("cublasLtMatmulDescDestroy"), product);
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t product, cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, std::size_t bytes) {
    const Call call("cublasLtMatmulDescSetAttribute");
    if (call.failure()) return CUBLAS_STATUS_INTERNAL_ERROR;
    switch (attribute) {
        case CUBLASLT_MATMUL_DESC_TRANSA:
            return take(product->turned_a, value, bytes);
        case CUBLASLT_MATMUL_DESC_TRANSB:
            return take(product->turned_b, value, bytes);
        case CUBLASLT_MATMUL_DESC_EPILOGUE:
            return take(product->epilogue, value, bytes);
        case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
            return take(product->bias, value, bytes);
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type, std::uint64_t rows,
                                          std::uint64_t columns, std::int64_t ld) {
    const Call call("cublasLtMatrixLayoutCreate");
    if (call.failure()) return CUBLAS_STATUS_ALLOC_FAILED;
    return make(layout, cublasLtMatrixLayoutOpaque_t{type, static_cast<std::int64_t>(rows),
                                                     static_cast<std::int64_t>(columns), ld});
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
    return destroy(Call("cublasLtMatrixLayoutDestroy"), layout);
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t attribute, const void* value,
                                                std::size_t bytes) {
    const Call call("cublasLtMatrixLayoutSetAttribute");
    if (call.failure()) return CUBLAS_STATUS_INTERNAL_ERROR;
    if (attribute == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT) return take(layout->batch, value, bytes);
    return take(layout->offset, value, bytes);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
    const Call call("cublasLtMatmulPreferenceCreate");
    if (call.failure()) return CUBLAS_STATUS_ALLOC_FAILED;
    return make(preference, cublasLtMatmulPreferenceOpaque_t{});
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
    return destroy(Call("cublasLtMatmulPreferenceDestroy"), preference);
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                                                    std::size_t bytes) {
    const Call call("cublasLtMatmulPreferenceSetAttribute");
    if (call.failure()) return CUBLAS_STATUS_INTERNAL_ERROR;
    switch (attribute) {
        case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
            return take(preference->workspace, value, bytes);
        case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
            return take(preference->schemes, value, bytes);
        case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
            return take(preference->a, value, bytes);
        case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
            return take(preference->b, value, bytes);
        case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
            return take(preference->c, value, bytes);
        case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
            return take(preference->d, value, bytes);
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t product, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                              cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t preference, int most,
                                              cublasLtMatmulHeuristicResult_t results[], int* count) {
    const Call call("cublasLtMatmulAlgoGetHeuristic");
    if (call.failure()) return CUBLAS_STATUS_INTERNAL_ERROR;
    const Product p{*product, *a, *b, *c, *d};
    if (const char* why = p.wrong()) return refuse("cublasLtMatmulAlgoGetHeuristic", why);
    *count = 0;
    for (const ProductAlgorithm& one : offer().algorithms) {
        const auto needed = static_cast<std::uint32_t>(one.alignment);
        const bool aligned =
            preference->a >= needed && preference->b >= needed && preference->c >= needed && preference->d >= needed;
        const bool scheme = one.reduction == 0 || (preference->schemes & static_cast<unsigned>(one.reduction)) != 0;
        const bool exact = !one.rounds || p.rounds() || p.a.type == CUDA_R_16BF;
        if (*count == most || !aligned || !scheme || !exact ||
            static_cast<std::uint64_t>(one.workspace_bytes) > preference->workspace)
            continue;
        cublasLtMatmulHeuristicResult_t& found = results[(*count)++];
        found = {};
        found.algo.data[0] = one.id;
        found.algo.data[2] = promise(*preference);
        found.workspaceSize = static_cast<std::size_t>(one.workspace_bytes);
    }
    return *count ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t product, cublasLtMatrixLayout_t a,
                                       cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t* algorithm, cublasLtMatmulHeuristicResult_t* result) {
    const Call call("cublasLtMatmulAlgoCheck");
    if (call.failure()) return CUBLAS_STATUS_INTERNAL_ERROR;
    if (const char* why = Product{*product, *a, *b, *c, *d}.wrong()) return refuse("cublasLtMatmulAlgoCheck", why);
    const ProductAlgorithm* found = algorithm_of(algorithm->data[0]);
    if (!found) return CUBLAS_STATUS_NOT_SUPPORTED;
    result->workspaceSize = static_cast<std::size_t>(found->workspace_bytes);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t product, const void* alpha, const void* a_data,
                              cublasLtMatrixLayout_t a, const void* b_data, cublasLtMatrixLayout_t b, const void* beta,
                              const void* c_data, cublasLtMatrixLayout_t c, void* d_data, cublasLtMatrixLayout_t d,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace, std::size_t workspace_bytes,
                              cudaStream_t stream) {
    const char* name = "cublasLtMatmul";
    const Call call(name);
    if (call.failure()) return CUBLAS_STATUS_EXECUTION_FAILED;
    CUstream_st* found_stream = find(stream);
    if (!found_stream) return CUBLAS_STATUS_INVALID_VALUE;
    const Product p{*product, *a, *b, *c, *d};
    if (const char* why = p.wrong()) return refuse(name, why);
    const Operands operands{
        a_data, b_data, c_data, d_data, *static_cast<const float*>(alpha), *static_cast<const float*>(beta)};
    const ProductAlgorithm* found = algorithm_of(algorithm->data[0]);
    if (!found) return refuse(name, "an algorithm that is not offered");
    const std::uint64_t promised = algorithm->data[2];
    if (!is_kept(promised, 0, a_data) || !is_kept(promised, 1, b_data) || !is_kept(promised, 3, d_data) ||
        (operands.beta != 0 && !is_kept(promised, 2, c_data)))
        return refuse(name, "a matrix that is less aligned than was promised");
    if (!require_on_card(name, a_data, p.a.bytes()) || !require_on_card(name, b_data, p.b.bytes()) ||
        !require_on_card(name, d_data, p.d.bytes()) ||
        (operands.beta != 0 && !require_on_card(name, c_data, p.c.bytes())) ||
        (p.adds_bias() && !require_on_card(name, p.how.bias, p.d.rows * p.d.element_bytes())))
        return CUBLAS_STATUS_INVALID_VALUE;
    const ProductAlgorithm one = *found;
    if (static_cast<std::int64_t>(workspace_bytes) < one.workspace_bytes) return refuse(name, "too little workspace");
    if (one.workspace_bytes > 0 && !require_on_card("a workspace", workspace, one.workspace_bytes))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (one.refused_at_run) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (one.refused_in_capture && found_stream->capture) {
        found_stream->invalid = true;
        return CUBLAS_STATUS_EXECUTION_FAILED;
    }
    const cudaError_t status = queue(stream, {"a product of matrices",
                                              [=] {
                                                  if (one.fails_after) throw std::runtime_error("an illegal address");
                                                  ++offer().runs[one.id];
                                                  if (one.workspace_bytes > 0)
                                                      fill_with_garbage(workspace, one.workspace_bytes);
                                                  compute(p, operands, one.rounds && p.rounds());
                                                  spoil(one, p.d, d_data);
                                              },
                                              {},
                                              one.seconds});
    return status ? CUBLAS_STATUS_EXECUTION_FAILED : CUBLAS_STATUS_SUCCESS;
}

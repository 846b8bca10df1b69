// cuBLAS, NVTX and CUB, as far as the host code calls them.
#include <cublas_v2.h>
#include <nvtx3/nvToolsExt.h>

#include <cub/device/device_scan.cuh>

#include "tests/cuda_standin/queue.h"

using namespace iwseg::standin;

struct cublasContext {
    cudaStream_t stream = nullptr;
};

const char* cublasGetStatusString(cublasStatus_t status) {
    return status == CUBLAS_STATUS_SUCCESS         ? "the operation completed successfully"
           : status == CUBLAS_STATUS_NOT_SUPPORTED ? "the requested functionality is not supported"
                                                   : "an internal operation failed";
}

cublasStatus_t cublasCreate(cublasHandle_t* handle) {
    const Call call("cublasCreate");
    if (call.failure()) return CUBLAS_STATUS_INTERNAL_ERROR;
    *handle = new cublasContext;
    ++card().alive.blas_handles;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy(cublasHandle_t handle) {
    const Call call("cublasDestroy");
    --card().alive.blas_handles;
    delete handle;
    return call.failure() ? CUBLAS_STATUS_INTERNAL_ERROR : CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
    const Call call("cublasSetStream");
    if (call.failure() || !find(stream)) return CUBLAS_STATUS_INTERNAL_ERROR;
    handle->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t, cublasOperation_t, int m, int n, int k,
                            const void*, const void* a, cudaDataType type_a, int, const void* b, cudaDataType type_b,
                            int, const void*, void* c, cudaDataType type_c, int, cublasComputeType_t,
                            cublasGemmAlgo_t) {
    const Call call("cublasGemmEx");
    if (call.failure()) return CUBLAS_STATUS_INTERNAL_ERROR;
    const auto bytes = [](cudaDataType type, std::int64_t rows, std::int64_t columns) {
        return rows * columns * (type == CUDA_R_16BF ? 2 : 4);
    };
    if (!require_on_card("cublasGemmEx", a, bytes(type_a, m, k)) ||
        !require_on_card("cublasGemmEx", b, bytes(type_b, k, n)) ||
        !require_on_card("cublasGemmEx", c, bytes(type_c, m, n)))
        return CUBLAS_STATUS_INVALID_VALUE;
    const double seconds = 2.0 * m * n * k / 1e14;
    return queue(handle->stream, {"a product of matrices", [] {}, {}, seconds}) ? CUBLAS_STATUS_INTERNAL_ERROR
                                                                                : CUBLAS_STATUS_SUCCESS;
}

int nvtxRangePushA(const char*) {
    return card().alive.ranges++;
}
int nvtxRangePop() {
    return --card().alive.ranges;
}

cudaError_t cub::DeviceScan::ExclusiveSum(void* scratch, std::size_t& bytes, std::uint32_t* numbers, std::int64_t count,
                                          cudaStream_t stream) {
    const Call call("cub::DeviceScan::ExclusiveSum");
    if (call.failure()) return call.failure();
    constexpr std::size_t kScratch = 767;  // as uneven as CUB's
    if (!scratch) {
        bytes = kScratch;
        return cudaSuccess;
    }
    if (bytes < kScratch || !require_on_card("a scan's scratch", scratch, kScratch) ||
        !require_on_card("a scan", numbers, count * 4))
        return Call::fail(cudaErrorInvalidValue);
    return queue(stream, {"a scan", [=] {
                              fill_with_garbage(scratch, kScratch);
                              std::uint32_t sum = 0;
                              for (std::int64_t i = 0; i < count; ++i) {
                                  const std::uint32_t number = numbers[i];
                                  numbers[i] = sum;
                                  sum += number;
                              }
                          }});
}

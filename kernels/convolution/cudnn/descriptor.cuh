#pragma once

#include <cudnn.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/convolution/cudnn/plans.h"

// Setting and reading attributes of cuDNN's descriptors, each call checked.
namespace iwseg::cuda {

/// Whether cuDNN says that it has not what is asked for, rather than that it failed.
inline bool is_unsupported(cudnnStatus_t status) {
    return status >= CUDNN_STATUS_NOT_SUPPORTED && status < CUDNN_STATUS_INTERNAL_ERROR;
}

/// cuDNN refused something; the message ends with its own words.
class CudnnError : public std::runtime_error {
  public:
    CudnnError(cudnnStatus_t status, const std::string& doing);
    bool unsupported() const { return is_unsupported(status_); }

  private:
    cudnnStatus_t status_;
};

inline void check(cudnnStatus_t status, const std::string& doing) {
    if (status != CUDNN_STATUS_SUCCESS) throw CudnnError(status, doing);
}

/// What cuDNN calls a C++ type that attributes are of.
template <class T>
extern const cudnnBackendAttributeType_t kAttributeType;  // of no other type
template <>
inline constexpr auto kAttributeType<void*> = CUDNN_TYPE_VOID_PTR;
template <>
inline constexpr auto kAttributeType<std::int64_t> = CUDNN_TYPE_INT64;
template <>
inline constexpr auto kAttributeType<float> = CUDNN_TYPE_FLOAT;
template <>
inline constexpr auto kAttributeType<bool> = CUDNN_TYPE_BOOLEAN;
template <>
inline constexpr auto kAttributeType<char> = CUDNN_TYPE_CHAR;
template <>
inline constexpr auto kAttributeType<cudnnHandle_t> = CUDNN_TYPE_HANDLE;
template <>
inline constexpr auto kAttributeType<cudnnDataType_t> = CUDNN_TYPE_DATA_TYPE;
template <>
inline constexpr auto kAttributeType<cudnnConvolutionMode_t> = CUDNN_TYPE_CONVOLUTION_MODE;
template <>
inline constexpr auto kAttributeType<cudnnPointwiseMode_t> = CUDNN_TYPE_POINTWISE_MODE;
template <>
inline constexpr auto kAttributeType<cudnnBackendHeurMode_t> = CUDNN_TYPE_HEUR_MODE;
template <>
inline constexpr auto kAttributeType<cudnnBackendKnobType_t> = CUDNN_TYPE_KNOB_TYPE;
template <>
inline constexpr auto kAttributeType<cudnnBackendNumericalNote_t> = CUDNN_TYPE_NUMERICAL_NOTE;
template <>
inline constexpr auto kAttributeType<cudnnBackendBehaviorNote_t> = CUDNN_TYPE_BEHAVIOR_NOTE;

template <class T>
void set(const CudnnDescriptor& of, cudnnBackendAttributeName_t attribute, const std::vector<T>& values) {
    check(cudnnBackendSetAttribute(of.get(), attribute, kAttributeType<T>, static_cast<std::int64_t>(values.size()),
                                   values.data()),
          "setting attribute " + std::to_string(attribute));
}

template <class T>
void set(const CudnnDescriptor& of, cudnnBackendAttributeName_t attribute, const T& value) {
    check(cudnnBackendSetAttribute(of.get(), attribute, kAttributeType<T>, 1, &value),
          "setting attribute " + std::to_string(attribute));
}

inline void set(const CudnnDescriptor& of, cudnnBackendAttributeName_t attribute, const CudnnDescriptor& value) {
    void* pointer = value.get();
    check(cudnnBackendSetAttribute(of.get(), attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &pointer),
          "setting attribute " + std::to_string(attribute));
}

inline void finalise(const CudnnDescriptor& one, const char* what) {
    check(cudnnBackendFinalize(one.get()), std::string("making ") + what);
}

/// The values of an attribute, `most` at most: asked for without room, cuDNN counts none of some attributes.
template <class T>
std::vector<T> get(void* of, cudnnBackendAttributeName_t attribute, std::int64_t most = 1) {
    std::vector<T> values(static_cast<std::size_t>(most));
    std::int64_t count = 0;
    check(cudnnBackendGetAttribute(of, attribute, kAttributeType<T>, most, &count, values.data()),
          "reading attribute " + std::to_string(attribute));
    values.resize(static_cast<std::size_t>(std::min(count, most)));
    return values;
}

/// The descriptors of an attribute, owned by the caller.
std::vector<CudnnDescriptor> get_descriptors(void* of, cudnnBackendAttributeName_t attribute,
                                             cudnnBackendDescriptorType_t kind, std::int64_t most);

}  // namespace iwseg::cuda

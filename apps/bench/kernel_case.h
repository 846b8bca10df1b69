#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "kernels/device/backend.h"
#include "kernels/device/view.h"

/// One kernel call by itself, on seeded noise: what `iwseg kernel` launches under a profiler and compares with the CPU.
namespace iwseg {

struct KernelCaseOptions {
    std::string kernel;                 ///< one of kernel_case_names()
    Shape shape{2, 16, 32, 32, 32};     ///< (N, C, D, H, W) of what the kernel reads; losses and components take C = 1
    Type type = Type::f32;              ///< of activations: f32 or bf16
    std::int64_t out_channels = 16;     ///< of convolutions
    Sides kernel_size = 3, stride = 1;  ///< of convolutions: 1 to 7 voxels
    std::int64_t groups = 1;            ///< of convolutions
    bool padded = true;                 ///< convolutions: by zeros, as ConvolutionGeometry has it
    std::optional<int> variant;         ///< of convolutions: which of kernel_engines(); none: the one that a plan takes
    std::string loss = "iwdl";          ///< of losses
    int connectivity = 26;              ///< of components
    std::uint64_t seed = 0;
};

/// What a kernel reads or writes. Activations are of the asked type, in the device's layout, logits of the asked type;
/// everything but activations is ncdhw.
struct KernelOperand {
    enum class Kind : std::uint8_t { activation, logit, f32, i32, u8, f64 };
    std::string name;
    Shape shape;
    Kind kind = Kind::activation;
    bool written = false;             ///< compared with the CPU's
    std::vector<double> values = {};  ///< before the call, (N, C, D, H, W); empty: zeros
};

/// A call ready to be placed on any backend.
struct KernelCase {
    std::vector<KernelOperand> operands;
    struct Prepared {
        std::int64_t scratch_bytes = 0;
        /// Takes the operands in their order, placed on the backend, and scratch.
        std::function<void(const std::vector<View>& operands, void* scratch)> call;
        /// What a step does once for all of its kernels, not at each call: before the first, after the last.
        std::function<void(const std::vector<View>&operands)> before = {}, after = {};
        std::string engine = {};  ///< of a convolution, what computes it
    };
    /// Makes what is made once (a convolution) for a backend, its stream, its activations' layout and type, and the
    /// options' variant.
    std::function<Prepared(const Backend&, Stream, Layout, Type, std::optional<int> variant)> prepare;
    double operations = 0;  ///< multiplications and additions of one call
    /// Largest difference from the CPU's f32 result, as a share of its largest value, that rounding explains.
    double allowed_f32 = 1e-4, allowed_bf16 = 2e-2;
};

std::vector<std::string> kernel_case_names();

/// The layout of activations on a device.
Layout kernel_layout(const Backend& device, const KernelCaseOptions& options);

/// What computes a convolution on a device, as its plan lists them. Throws InputError where the kernel is none.
std::vector<ConvolutionEngine> kernel_engines(const Backend& device, Stream stream, const KernelCaseOptions& options);

/// Throws InputError on a kernel, shape or type there is none for, naming the nearest, and on a variant of what is no
/// convolution.
KernelCase make_kernel_case(const KernelCaseOptions& options);

}  // namespace iwseg

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/convolution/epilogue.h"
#include "kernels/convolution/geometry.h"
#include "kernels/device/declare.h"
#include "kernels/device/view.h"
#include "kernels/norm/batch_norm.h"

namespace iwseg {

/// How a CPU multiplies bf16 operands: by its own bf16 instructions, or widened to f32 first, which is faster on
/// processors without them: then weights of direct sums are rounded to bf16 all the same, those that Winograd's
/// transforms take are not.
enum class Bf16Operands : std::uint8_t { fastest, native, widened };

/// Channels of a source, the first ones, that need not lie in memory as a whole: a convolution may have their planes
/// made some at a time while it reads them.
struct MadeChannels {
    std::int64_t channels = 0;  ///< 0: none
    std::int64_t step = 1;      ///< so many planes, or a multiple, are made at once
};

/// Makes planes of those channels, (1, channels, planes, H, W) of the source's form, from this one on.
using MakePlanes = std::function<void(std::int64_t first, View planes)>;

/// A convolution, of which geometry.h says what it joins.
struct ConvolutionOptions : ConvolutionGeometry {
    Layout src_layout = Layout::ncdhw, dst_layout = Layout::ncdhw;
    Type src_type = Type::f32, dst_type = Type::f32;  ///< sums are f32; of operands see bf16_operands
    bool bias = false;
    Write write = Write::overwrite;  ///< accumulate: the result is added to a summand, a residual sum for free
    /// A batch normalisation reads the result: sums for its statistics are wanted beside it (Convolution::sums_bytes).
    bool sums = false;
    /// src is a batch normalisation with ReLU: passes are wanted that read what it is of (Convolution::normalises).
    bool normalises = false;
    EpilogueForm epilogue = {};  ///< of forward passes, where the convolution takes it (Convolution::takes_epilogue)
    bool in_place = false;       ///< forward passes are wanted that may write over src (Convolution::works_in_place)
    MadeChannels made = {};      ///< forward passes may ask for these of src (Convolution::made_planes)
    Bf16Operands bf16_operands = Bf16Operands::fastest;
    bool deterministic = true;   ///< on CUDA: two runs give the same bits; off, cuDNN may sum in any order
    bool tf32 = false;           ///< on CUDA: f32 operands may be rounded to 10 bits of fraction
    std::string plan_file = {};  ///< on CUDA: the plans chosen for a run, read first and added to; empty: none

    /// Throws std::invalid_argument on a kernel, stride or groups that no convolution has.
    void check() const;
};

/// How a convolution would have its weights and give their gradient, where that is not the parameters' own form:
/// packed, as kernels/convolution/weights.h has it, all of a network's in one launch.
struct WeightForm {
    bool packed = false;  ///< weights; in the same memory, at bias_at, the bias as one output of O inputs
    bool packed_bias = false;
    bool packed_gradient = false;  ///< the gradient of weights; that of a bias never is
    Type type = Type::f32;
    std::int64_t bias_at = 0, bytes = 0;  ///< of the memory of weights and bias
};

/// The passes that read src before its normalisation with ReLU and apply that on the way.
struct NormalisingPasses {
    bool forward = false, backward_weights = false;
};

/// One convolution made ready: its plans are chosen when it is made, its calls allocate nothing.
/// weights, diff_weights: (O, C / groups, kernel) f32, plain, of the parameters' flat buffer. bias, diff_bias: (O) f32
/// or null. diff_src and diff_weights are overwritten.
class Convolution {
  public:
    virtual ~Convolution() = default;

    virtual std::string implementation() const = 0;  ///< of the three passes, for people
    virtual std::int64_t scratch_bytes() const = 0;  ///< the largest that any call needs
    virtual WeightForm weight_form() const { return {}; }
    /// From here on packed weights are read from there, and packed gradients left there, by whoever packs and unpacks
    /// them for all; a null one: the convolution does so for itself. What is not packed goes by the calls' own
    /// arguments.
    virtual void use_packed(const void* /*weights*/, void* /*diff_weights*/) {}
    /// Where it accumulates, dst is the summand.
    virtual void forward(Stream stream, View src, const float* weights, const float* bias, View dst, void* scratch) = 0;
    /// Whether the summand may lie elsewhere, and so stay as it is without a copy of it.
    virtual bool adds_elsewhere() const { return false; }
    /// dst = summand, which is of its form, + the result, where it accumulates and adds_elsewhere().
    virtual void forward_sum(Stream, View /*src*/, const float* /*weights*/, const float* /*bias*/, View /*summand*/,
                             View /*dst*/, void* /*scratch*/) {
        throw std::logic_error("convolution: this one adds only to what lies in dst");
    }
    /// Where options.sums asks for them and this is above 0, forward passes leave so many bytes of sums over the
    /// result, as it is stored, where use_sums has said, and statistics() makes of them what batch_norm_statistics
    /// would make of the result, but for the order of sums.
    virtual std::int64_t sums_bytes() const { return 0; }
    virtual void use_sums(void* /*sums*/) {}
    virtual void statistics(Stream, const void* /*sums*/, float /*epsilon*/, BatchNormStatistics, RunningStatistics) {
        throw std::logic_error("convolution: this one leaves no sums");
    }
    /// Where options.normalises asks for it, src of these passes is what is normalised by what use_normalisation has
    /// said: with the bits that batch_norm_apply would have left there.
    virtual NormalisingPasses normalises() const { return {}; }
    virtual void use_normalisation(BatchNormStatistics, BatchNormWeights) {}
    /// Whether forward passes apply options.epilogue, which use_epilogue then completes before each; else somebody else
    /// has to.
    virtual bool takes_epilogue() const { return false; }
    virtual void use_epilogue(const Epilogue&) {}
    /// Whether what forward writes, dst or, where the epilogue has two results, the one beside, may begin where src
    /// does, which is then lost: to the same bits, in more time.
    virtual bool works_in_place() const { return false; }
    /// Where this is above 0, forward has options.made's channels made, so many planes at once, by what use_made has
    /// said before each call; its src is then the other channels. Of the same bits as with all channels in src.
    virtual std::int64_t made_planes() const { return 0; }
    virtual void use_made(const MakePlanes&) {}
    virtual void backward_data(Stream stream, View diff_dst, const float* weights, View diff_src, void* scratch) = 0;
    virtual void backward_weights(Stream stream, View src, View diff_dst, float* diff_weights, float* diff_bias,
                                  void* scratch) = 0;
};

inline void ConvolutionOptions::check() const {
    const auto refuse = [](const std::string& what) { throw std::invalid_argument("convolution: " + what); };
    if (src.elements() <= 0 || dst_channels <= 0) refuse("expected a source and channels of at least one");
    for (const Sides& sides : {kernel, stride})
        for (const int side : {sides.d, sides.h, sides.w})
            if (side < 1 || side > 7) refuse("expected kernels and strides of 1 to 7, not " + std::to_string(side));
    for (const int side : {kernel.d, kernel.h, kernel.w})
        if (padded && side % 2 == 0)
            refuse("a kernel of " + std::to_string(side) + " cannot have as many zeros before as after");
    if (groups < 1 || src.c % groups || dst_channels % groups)
        refuse(std::to_string(groups) + " groups do not divide " + std::to_string(src.c) + " and " +
               std::to_string(dst_channels) + " channels");
    if (dst().voxels() <= 0) refuse("the kernel is larger than the source");
}

/// Which passes a convolution is asked for.
struct ConvolutionPasses {
    bool backward_data = true, backward_weights = true;
};

/// Which of a convolution's three results.
enum class ConvolutionPass : std::uint8_t { forward, data, weights };

/// One of those that can compute a pass of a convolution.
struct ConvolutionEngine {
    std::string name;    ///< for people
    std::string choice;  ///< when make_convolution takes it, for people; empty: never
    /// A convolution for this pass alone. Measures nothing.
    std::function<std::unique_ptr<Convolution>()> make;
};

}  // namespace iwseg

IWSEG_BACKENDS(
    /// To be run on that stream. Throws std::invalid_argument on shapes and layouts it cannot take.
    std::unique_ptr<Convolution> make_convolution(Stream stream, const ConvolutionOptions& options,
                                                  ConvolutionPasses passes);
    /// All that compute this pass on the stream's device, in the order in which make_convolution tries them; at least
    /// one. Throws as make_convolution does.
    std::vector<ConvolutionEngine> convolution_engines(Stream stream, const ConvolutionOptions& options,
                                                       ConvolutionPass pass);
    /// The layout that activations of a network whose narrowest tensor has so many channels are fastest in.
    Layout preferred_layout(std::int64_t narrowest);)

#include <stdexcept>
#include <string>

#include "base/error.h"
#include "kernels/convolution/onednn.h"
#include "kernels/convolution/projection.h"
#include "kernels/convolution/row_convolution.h"

// Which of the CPU's convolutions is taken: the specialised first.
namespace iwseg::cpu {
namespace {

void check(const ConvolutionOptions& o) {
    o.check();
    if (o.src_layout != o.dst_layout && o.src_layout != Layout::ncdhw && o.dst_layout != Layout::ncdhw)
        throw std::invalid_argument("convolution: source and result of different blocked layouts");
}

bool is_row_convolution(const ConvolutionOptions& options) {
    return operand_type(options) == Type::f32 && row_convolution_works(options);
}

/// The same with each type that can be multiplied here, the one that is taken first.
std::vector<ConvolutionOptions> by_operands(const ConvolutionOptions& options) {
    std::vector<ConvolutionOptions> all{options};
    for (const Bf16Operands operands : {Bf16Operands::native, Bf16Operands::widened}) {
        ConvolutionOptions other = options;
        other.bf16_operands = operands;
        if (operand_type(other) != operand_type(options)) all.push_back(other);
    }
    return all;
}

/// Those that compute a pass of operands of one type. The gradient of weights is the same code with rows of voxels as
/// beside oneDNN.
std::vector<ConvolutionEngine> engines_of(Stream stream, const ConvolutionOptions& options, ConvolutionPass pass) {
    const ConvolutionPasses passes{pass == ConvolutionPass::data, pass == ConvolutionPass::weights};
    const auto rows = [=] { return make_row_convolution(options, passes); };
    const auto onednn = [=](bool own) { return [=] { return make_onednn_convolution(stream, options, passes, own); }; };
    std::vector<ConvolutionEngine> engines;
    const bool weights = pass == ConvolutionPass::weights;
    if (is_row_convolution(options)) engines.push_back({weights ? "direct" : "rows", "", rows});
    try {
        const std::string whole = onednn(false)()->implementation();
        if (weights && engines.empty() && onednn(true)()->implementation() != whole)
            engines.push_back({"direct", "", onednn(true)});
        engines.push_back({"oneDNN", "", onednn(false)});
    } catch (const InputError&) {
        // oneDNN makes none.
    }
    for (ConvolutionEngine& one : engines)
        if (options.src_type == Type::bf16)
            one.name += operand_type(options) == Type::bf16 ? ", bf16" : ", bf16 widened";
    return engines;
}

}  // namespace

std::unique_ptr<Convolution> make_convolution(Stream stream, const ConvolutionOptions& options,
                                              ConvolutionPasses passes) {
    check(options);
    if (is_projection(options)) return make_projection(options);
    if (is_row_convolution(options)) return make_row_convolution(options, passes);
    return make_onednn_convolution(stream, options, passes);
}

std::vector<ConvolutionEngine> convolution_engines(Stream stream, const ConvolutionOptions& options,
                                                   ConvolutionPass pass) {
    check(options);
    std::vector<ConvolutionEngine> engines;
    if (is_projection(options)) engines.push_back({"projection", "", [=] { return make_projection(options); }});
    if (!is_projection(options) || options.src_layout == options.dst_layout)
        for (const ConvolutionOptions& one : by_operands(options))
            for (ConvolutionEngine& engine : engines_of(stream, one, pass)) engines.push_back(std::move(engine));
    if (engines.empty()) make_onednn_convolution(stream, options, {});  // which says why
    engines.at(0).choice = "taken";
    return engines;
}

}  // namespace iwseg::cpu

#include "apps/bench/convolution_case.h"

#include <memory>
#include <span>
#include <stdexcept>
#include <utility>

#include "apps/bench/kernel_operands.h"
#include "base/bytes.h"
#include "base/error.h"
#include "engine/device_memory.h"

namespace iwseg {
namespace {

using Kind = KernelOperand::Kind;
using Pass = ConvolutionPass;

/// The place of the weights, or of their gradient, in a pass' operands.
constexpr std::size_t kWeightsAt = 1, kWeightGradientAt = 2;

ConvolutionEngine engine_of(const Backend& device, Stream stream, const ConvolutionOptions& options, Pass pass,
                            std::optional<int> variant) {
    if (!variant) {
        const ConvolutionPasses passes{pass == Pass::data, pass == Pass::weights};
        return {"", "", [=, &device] { return device.make_convolution(stream, options, passes); }};
    }
    const std::vector<ConvolutionEngine> all = device.convolution_engines(stream, options, pass);
    if (*variant >= 0 && *variant < static_cast<int>(all.size())) return all[static_cast<std::size_t>(*variant)];
    const std::string count = std::to_string(all.size()), last = std::to_string(all.size() - 1);
    throw InputError("there is no variant " + std::to_string(*variant) + " of this convolution: it has " + count +
                     (all.size() == 1 ? " on this device, 0" : " on this device, 0 to " + last) +
                     "; --variant list names " + (all.size() == 1 ? "it" : "them"));
}

/// Lets weights be packed before the first call and their gradient be unpacked after the last, as in a step, so that
/// a call is the engine alone.
void pack_outside(const Backend& device, Stream stream, const ConvolutionOptions& options, Pass pass,
                  const std::shared_ptr<Convolution>& convolution, KernelCase::Prepared& prepared) {
    const WeightForm form = convolution->weight_form();
    const bool gradient = pass == Pass::weights;
    if (gradient ? !form.packed_gradient : !form.packed) return;
    const WeightShape shape{options.dst_channels, options.inputs(), static_cast<int>(options.taps())};
    const auto memory = std::make_shared<DeviceMemory>(device, aligned(form.bytes));
    convolution->use_packed(gradient ? nullptr : memory->data(), gradient ? memory->data() : nullptr);
    const auto array = [=](const std::vector<View>& v) {
        return PackedArray{v[gradient ? kWeightGradientAt : kWeightsAt].as<float>(), memory->data(), shape};
    };
    if (gradient)
        prepared.after = [=, &device, type = form.type](const std::vector<View>& v) {
            const PackedArray one = array(v);
            device.unpack_all_weights(stream, {&one, 1}, type);
        };
    else
        prepared.before = [=, &device, type = form.type](const std::vector<View>& v) {
            const PackedArray one = array(v);
            device.pack_all_weights(stream, {&one, 1}, type);
        };
}

}  // namespace

std::optional<Pass> convolution_pass(const std::string& kernel) {
    if (kernel == "convolution_forward") return Pass::forward;
    if (kernel == "convolution_data_gradient") return Pass::data;
    if (kernel == "convolution_weight_gradient") return Pass::weights;
    return std::nullopt;
}

ConvolutionOptions convolution_of(const KernelCaseOptions& o, Layout layout, Type type) {
    ConvolutionOptions options;
    options.src = o.shape;
    options.dst_channels = o.out_channels;
    options.kernel = o.kernel_size;
    options.stride = o.stride;
    options.groups = o.groups;
    options.padded = o.padded;
    options.src_layout = options.dst_layout = layout;
    options.src_type = options.dst_type = type;
    return options;
}

KernelCase make_convolution_case(const KernelCaseOptions& o) {
    const Pass pass = convolution_pass(o.kernel).value();
    const ConvolutionOptions plain = convolution_of(o, Layout::ncdhw, Type::f32);
    try {
        plain.check();
    } catch (const std::invalid_argument& error) {
        throw InputError(error.what());
    }
    const auto& [d, h, w] = o.kernel_size;
    const Shape weights{o.out_channels, plain.inputs(), d, h, w}, dst = plain.dst();
    KernelOperands operands(o);
    if (pass == Pass::forward)
        operands.noise("src", o.shape).noise("weights", weights, Kind::f32).result("dst", dst);
    else if (pass == Pass::data)
        operands.noise("diff dst", dst).noise("weights", weights, Kind::f32).result("diff src", o.shape);
    else
        operands.noise("src", o.shape).noise("diff dst", dst).result("diff weights", weights, Kind::f32);
    KernelCase made;
    made.operands = operands.list();
    made.prepare = [o, pass](const Backend& device, Stream stream, Layout layout, Type type,
                             std::optional<int> variant) -> KernelCase::Prepared {
        const ConvolutionOptions options = convolution_of(o, layout, type);
        const ConvolutionEngine engine = engine_of(device, stream, options, pass, variant);
        const std::shared_ptr<Convolution> once = engine.make();
        KernelCase::Prepared prepared;
        prepared.scratch_bytes = once->scratch_bytes();
        prepared.engine = variant ? engine.name : once->implementation();
        prepared.call = [=](const std::vector<View>& v, void* scratch) {
            if (pass == Pass::forward)
                once->forward(stream, v[0], v[1].as<float>(), nullptr, v[2], scratch);
            else if (pass == Pass::data)
                once->backward_data(stream, v[0], v[1].as<float>(), v[2], scratch);
            else
                once->backward_weights(stream, v[0], v[1], v[2].as<float>(), nullptr, scratch);
        };
        pack_outside(device, stream, options, pass, once, prepared);
        return prepared;
    };
    made.operations = 2.0 * static_cast<double>(dst.elements() * plain.inputs() * plain.taps());
    made.allowed_f32 = 1e-3;  // TF32 keeps ten bits of each operand
    return made;
}

}  // namespace iwseg

#include "import/network_import.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "base/error.h"
#include "engine/compile.h"
#include "engine/context.h"
#include "engine/graph.h"
#include "engine/parameters.h"
#include "import/torch_checkpoint.h"
#include "models/networks.h"

namespace iwseg {
namespace {

using std::filesystem::path;
using Arrays = std::map<std::string, StoredTensor>;

constexpr const char* kStateKeys[] = {"state_dict", "model_state_dict", "model", "net", "network", "network_weights"};

/// The dictionary of tensors that a checkpoint is, or holds.
Pickle::Value state_in(const Pickle::Value& root, const std::string& file) {
    if (root.kind() == Pickle::Kind::dictionary) {
        for (const char* key : kStateKeys)
            if (const auto found = root.find(key); found && found->kind() == Pickle::Kind::dictionary) return *found;
        for (const auto& [name, value] : root.entries())
            if (value.kind() == Pickle::Kind::tensor) return root;
    }
    throw InputError(file +
                     " holds no state_dict: expected a dictionary of tensors, or one under state_dict, model, "
                     "model_state_dict, net, network or network_weights");
}

/// The arrays of a network that has one of these; names begin where that one's does.
Arrays arrays_in(const path& checkpoint, const std::vector<std::string>& anchors, const std::string& kind,
                 std::int64_t& left_out) {
    const TorchCheckpoint opened(checkpoint);
    const auto entries = state_in(opened.root(), checkpoint.string()).entries();
    const auto prefix_of = [&](const std::string& anchor) -> std::optional<std::string> {
        for (const auto& [name, value] : entries)
            if (name.ends_with(anchor) &&
                (name.size() == anchor.size() || name[name.size() - anchor.size() - 1] == '.'))
                return name.substr(0, name.size() - anchor.size());
        return std::nullopt;
    };
    std::optional<std::string> prefix;
    for (const std::string& anchor : anchors)
        if (!prefix) prefix = prefix_of(anchor);
    if (!prefix) {
        std::string expected;
        for (const std::string& anchor : anchors) expected += (expected.empty() ? "" : " or ") + anchor;
        throw InputError(checkpoint.string() + " holds no " + kind + ": expected an array " + expected +
                         (entries.empty() ? "" : "; its first is " + entries.front().first.substr(0, 80)));
    }
    Arrays arrays;
    left_out = 0;
    for (const auto& [name, value] : entries) {
        if (!name.starts_with(*prefix) || value.kind() != Pickle::Kind::tensor)
            ++left_out;
        else
            arrays[name.substr(prefix->size())] = opened.read(value.tensor());
    }
    return arrays;
}

StoredTensor stored_floats(std::vector<std::int64_t> shape, const std::vector<float>& values) {
    StoredTensor made{"F32", std::move(shape), std::vector<std::byte>(values.size() * sizeof(float))};
    std::memcpy(made.bytes.data(), values.data(), made.bytes.size());
    return made;
}

/// A kernel's weights with its axes in the opposite order.
StoredTensor turned(const StoredTensor& from, const std::string& name, const std::string& file) {
    if (from.shape.size() != 5)
        throw InputError(file + ": " + name + " has " + std::to_string(from.shape.size()) +
                         " dimensions, but a network of three dimensions, five of a kernel, was expected");
    const std::vector<float> values = from.as_f32();
    std::vector<float> to(values.size());
    const std::int64_t x = from.shape[2], y = from.shape[3], z = from.shape[4];
    for (std::int64_t i = 0; i < std::ssize(values); ++i) {
        const std::int64_t k = i % z, j = i / z % y, l = i / (z * y) % x, row = i / (z * y * x);
        to[static_cast<std::size_t>(((row * z + k) * y + j) * x + l)] = values[static_cast<std::size_t>(i)];
    }
    return stored_floats({from.shape[0], from.shape[1], z, y, x}, to);
}

/// Where a UNet's instance norms have no scale and shift of their own, ones and zeros: the same function.
void complete_norms(Arrays& arrays) {
    Arrays added;
    for (const auto& [name, tensor] : arrays) {
        const std::string ending = ".adn.A.weight", of_conv = ".conv.weight";
        const std::size_t cut = name.ends_with(ending) ? ending.size() : name.ends_with(of_conv) ? of_conv.size() : 0;
        if (cut == 0 || tensor.shape.empty()) continue;
        // The transposed convolutions' second side is their channels.
        const std::string layer = name.substr(0, name.size() - cut);
        const auto conv = arrays.find(layer + of_conv);
        if (conv == arrays.end() || conv->second.shape.size() != 5 || arrays.contains(layer + ".adn.N.weight"))
            continue;
        const bool transposed = layer.ends_with(".2") || layer.ends_with(".2.0");
        const std::int64_t channels = conv->second.shape[transposed ? 1 : 0];
        const auto count = static_cast<std::size_t>(channels);
        added[layer + ".adn.N.weight"] = stored_floats({channels}, std::vector<float>(count, 1));
        added[layer + ".adn.N.bias"] = stored_floats({channels}, std::vector<float>(count, 0));
    }
    arrays.merge(added);
}

/// Reads the network back from the arrays, and writes it as training would. A file with the metadata is written first:
/// by what it says and its shapes a network is known.
Imported write_network(Arrays arrays, const path& checkpoint, const path& out,
                       std::map<std::string, std::string> metadata, const ImportOptions& options, bool spare_norms) {
    const path draft = out.string() + ".draft";
    std::vector<TensorToStore> listed;
    for (const auto& [name, tensor] : arrays) listed.push_back({name, tensor.type, tensor.shape, tensor.bytes});
    for (auto& [key, value] : metadata_of(options.settings)) metadata[key] = value;
    metadata["format"] = "pt";
    write_safetensors(draft, listed, metadata);
    struct Removed {
        const path& file;
        ~Removed() {
            std::error_code ignored;
            std::filesystem::remove(file, ignored);
        }
    } const removed{draft};
    const Network network = network_of_weights(draft.string());
    Graph graph;
    Parameters parameters;
    Context context({.device = "cpu", .threads = 1});
    const std::int64_t side = network.padded(std::max<std::int64_t>(options.settings.grid.patch, 16));
    const Tensor image = graph.input("patch", {1, network.in_channels, side, side, side});
    compile(graph, context, parameters, {.keep = {network.build(image)}});
    if (spare_norms)  // of convolutions that no norm follows
        std::erase_if(arrays, [&](const auto& one) {
            const bool norm = one.first.ends_with(".adn.N.weight") || one.first.ends_with(".adn.N.bias");
            return norm && std::none_of(parameters.list().begin(), parameters.list().end(),
                                        [&](const Parameter& p) { return p.name == one.first; });
        });
    parameters.load(arrays, checkpoint.string());
    parameters.save(out, metadata);
    return {network.name, network.in_channels, network.out_channels, parameters.learned_elements(), 0};
}

}  // namespace

Imported import_monai(const path& checkpoint, const path& out, const ImportOptions& options) {
    std::int64_t left_out = 0;
    Arrays arrays =
        arrays_in(checkpoint, {"convInit.conv.weight", "model.0.conv.unit0.conv.weight", "model.0.conv.weight"},
                  "UNet or SegResNet of MONAI's", left_out);
    const std::string file = checkpoint.string();
    const bool segresnet = arrays.contains("convInit.conv.weight");
    if (arrays.contains("vae_down.0.weight") || arrays.contains("vae_fc1.weight"))
        throw InputError(file + " is a SegResNetVAE's, whose autoencoder is not supported: import a SegResNet");
    if (segresnet && !arrays.contains("conv_final.0.weight"))
        throw InputError(file +
                         " is of a SegResNet without conv_final, or with another norm than GroupNorm and "
                         "BatchNorm, which is not supported");
    if (arrays.contains("up_samples.0.1.conv.weight") || arrays.contains("up_samples.0.1.conv_block.weight"))
        throw InputError(file + " upsamples by pixelshuffle, which is not supported: deconv and nontrainable are");
    for (auto& [name, tensor] : arrays)
        if (options.from_zyx && name.ends_with("weight") && tensor.shape.size() > 2)
            tensor = turned(tensor, name, file);
    MonaiStyle style{.groups = options.groups, .strides = options.strides};
    if (options.from_zyx)
        for (Sides& s : style.strides) std::swap(s.d, s.w);
    const bool slopes =
        std::any_of(arrays.begin(), arrays.end(), [](const auto& one) { return one.first.ends_with(".adn.A.weight"); });
    if (slopes && options.activation && *options.activation != MonaiStyle::Activation::prelu)
        throw InputError(file + " has learned slopes, so that its activation is prelu");
    if (!slopes && options.activation == MonaiStyle::Activation::prelu)
        throw InputError(file + " has no learned slopes of a prelu: expected relu or leaky_relu");
    style.activation =
        slopes ? MonaiStyle::Activation::prelu : options.activation.value_or(MonaiStyle::Activation::relu);
    if (options.group_norm) style.norm = MonaiStyle::Norm::group;
    if (!segresnet) complete_norms(arrays);
    Imported done = write_network(std::move(arrays), checkpoint, out, monai_metadata(style), options, !segresnet);
    done.left_out = left_out;
    return done;
}

Imported import_original(const path& checkpoint, const path& out, const ImportOptions& options) {
    std::int64_t left_out = 0;
    Arrays arrays =
        arrays_in(checkpoint, {"1.bridge.0.conv_path.0.layer.weight"}, "residual U-Net of the study", left_out);
    Imported done = write_network(std::move(arrays), checkpoint, out, {}, options, false);
    done.left_out = left_out;
    return done;
}

}  // namespace iwseg

#include "import/network_import.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <set>
#include <system_error>
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

/// A network's arrays; names begin where its own do.
struct Found {
    Arrays arrays;
    std::vector<std::string> names;  ///< as the file has them, one after another
    std::int64_t left_out = 0;
};

std::string list_of(const std::set<std::string>& prefixes) {
    std::string text;
    for (const std::string& prefix : prefixes) text += (text.empty() ? "'" : ", '") + prefix.substr(0, 60) + "'";
    return text;
}

/// The prefix of the one network that is meant, of those whose arrays the file has.
std::string chosen_prefix(const std::set<std::string>& prefixes, std::optional<std::string> wanted,
                          const std::string& file) {
    if (!wanted) {
        if (prefixes.size() == 1) return *prefixes.begin();
        throw InputError(file + " holds " + std::to_string(prefixes.size()) + " networks, whose names begin with " +
                         list_of(prefixes) + ": expected one of these as --prefix");
    }
    if (!wanted->empty() && !wanted->ends_with('.')) *wanted += '.';
    if (prefixes.contains(*wanted)) return *wanted;
    throw InputError("--prefix " + *wanted + ": names of networks in " + file + " begin with " + list_of(prefixes));
}

/// Those of a network that has one of these arrays.
Found arrays_in(const path& checkpoint, const std::vector<std::string>& anchors, const std::string& kind,
                const std::optional<std::string>& wanted) {
    const std::string file = checkpoint.string();
    const TorchCheckpoint opened(checkpoint);
    const auto entries = state_in(opened.root(), file).entries();
    std::set<std::string> prefixes;
    for (const auto& [name, value] : entries)
        for (const std::string& anchor : anchors)
            if (name.ends_with(anchor) &&
                (name.size() == anchor.size() || name[name.size() - anchor.size() - 1] == '.'))
                prefixes.insert(name.substr(0, name.size() - anchor.size()));
    if (prefixes.empty()) {
        std::string expected;
        for (const std::string& anchor : anchors) expected += (expected.empty() ? "" : " or ") + anchor;
        throw InputError(file + " holds no " + kind + ": expected an array " + expected +
                         (entries.empty() ? "" : "; its first is " + entries.front().first.substr(0, 80)));
    }
    const std::string prefix = chosen_prefix(prefixes, wanted, file);
    const auto of_another = [&](const std::string& name) {
        return std::any_of(prefixes.begin(), prefixes.end(), [&](const std::string& other) {
            return other.size() > prefix.size() && name.starts_with(other);
        });
    };
    Found found;
    for (const auto& [name, value] : entries) {
        if (!name.starts_with(prefix) || of_another(name) || value.kind() != Pickle::Kind::tensor) {
            ++found.left_out;
            continue;
        }
        found.names.push_back(name.substr(prefix.size()));
        found.arrays[found.names.back()] = opened.read(value.tensor());
    }
    return found;
}

StoredTensor stored_floats(std::vector<std::int64_t> shape, const std::vector<float>& values) {
    StoredTensor made{"F32", std::move(shape), std::vector<std::byte>(values.size() * sizeof(float))};
    std::memcpy(made.bytes.data(), values.data(), made.bytes.size());
    return made;
}

/// Of a norm's scales or shifts.
bool norm_array(const std::string& name) {
    if (!name.ends_with(".weight") && !name.ends_with(".bias")) return false;
    return name.find(".adn.N.") != std::string::npos || name.find(".norm1.") != std::string::npos ||
           name.find(".norm2.") != std::string::npos || name.starts_with("conv_final.0.");
}

/// A kernel's weights with its axes in the opposite order.
StoredTensor turned(const StoredTensor& from) {
    const std::vector<float> values = from.as_f32();
    std::vector<float> to(values.size());
    const std::int64_t x = from.shape[2], y = from.shape[3], z = from.shape[4];
    for (std::int64_t i = 0; i < std::ssize(values); ++i) {
        const std::int64_t k = i % z, j = i / z % y, l = i / (z * y) % x, row = i / (z * y * x);
        to[static_cast<std::size_t>(((row * z + k) * y + j) * x + l)] = values[static_cast<std::size_t>(i)];
    }
    return stored_floats({from.shape[0], from.shape[1], z, y, x}, to);
}

/// A file beside another, of a name that none has, while it lives.
class Draft {
  public:
    explicit Draft(const path& beside) : file_(beside.string() + ".XXXXXX") {
        const int descriptor = ::mkstemp(file_.data());
        if (descriptor < 0) throw InputError("cannot write " + beside.string() + ": " + std::strerror(errno));
        ::close(descriptor);
    }
    ~Draft() {
        std::error_code ignored;
        std::filesystem::remove(file_, ignored);
    }
    Draft(const Draft&) = delete;
    Draft& operator=(const Draft&) = delete;

    const std::string& file() const { return file_; }

  private:
    std::string file_;
};

/// The network that a file of these arrays and metadata would be of: by what it says and its shapes it is known.
Network known_network(const Arrays& arrays, const path& checkpoint, const path& out,
                      const std::map<std::string, std::string>& metadata) {
    const Draft draft(out);
    std::vector<TensorToStore> listed;
    for (const auto& [name, tensor] : arrays) listed.push_back({name, tensor.type, tensor.shape, tensor.bytes});
    write_safetensors(draft.file(), listed, metadata);
    try {
        return network_of_weights(draft.file());
    } catch (const InputError& error) {  // whoever reads it knows the checkpoint alone
        std::string what = error.what();
        if (const std::size_t at = what.find(draft.file()); at != std::string::npos)
            what.replace(at, draft.file().size(), checkpoint.string());
        throw InputError(what);
    }
}

/// Reads the network back from the arrays, and writes it as training would. without_norms: norms had no scales and
/// shifts of their own, and have ones and zeros: the same function.
Imported write_network(Found found, const path& checkpoint, const path& out,
                       std::map<std::string, std::string> metadata, const ImportOptions& options, bool without_norms) {
    for (auto& [key, value] : metadata_of(options.settings)) metadata[key] = value;
    metadata["format"] = "pt";
    const Network network = known_network(found.arrays, checkpoint, out, metadata);
    Graph graph;
    Parameters parameters;
    Context context({.device = "cpu", .threads = 1});
    const std::int64_t side = network.padded(std::max<std::int64_t>(options.settings.grid.patch, 16));
    const Tensor image = graph.input("patch", {1, network.in_channels, side, side, side});
    compile(graph, context, parameters, {.keep = {network.build(image)}});
    if (without_norms)
        for (const Parameter& parameter : parameters.list())
            if (norm_array(parameter.name) && !found.arrays.contains(parameter.name))
                found.arrays[parameter.name] = stored_floats(
                    parameter.shape, std::vector<float>(static_cast<std::size_t>(parameter.elements),
                                                        parameter.name.ends_with(".weight") ? 1.0f : 0.0f));
    parameters.load(found.arrays, checkpoint.string());
    parameters.save(out, metadata);
    return {network.name,
            network.in_channels,
            network.out_channels,
            parameters.learned_elements(),
            found.left_out,
            {},
            static_cast<int>(network.widths.size())};
}

/// One of MONAI's, by an array that no other has.
enum class MonaiNetwork : unsigned char { unet, segresnet, basic_unet };

MonaiNetwork monai_network_of(const Found& found) {
    if (found.arrays.contains("convInit.conv.weight")) return MonaiNetwork::segresnet;
    return found.arrays.contains("conv_0.conv_0.conv.weight") ? MonaiNetwork::basic_unet : MonaiNetwork::unet;
}

/// What MONAI makes a network of where nothing else is asked for; a UNet without learned slopes is taken for one of
/// ReLU.
MonaiStyle usual_style(MonaiNetwork network) {
    switch (network) {
        case MonaiNetwork::segresnet:
            return {.norm = MonaiStyle::Norm::group, .activation = MonaiStyle::Activation::relu};
        case MonaiNetwork::basic_unet:
            return {.activation = MonaiStyle::Activation::leaky_relu, .slope = 0.1f};
        case MonaiNetwork::unet:
            break;
    }
    return {.activation = MonaiStyle::Activation::relu};
}

/// Throws InputError where the networks in the file are not what is supported.
void require_supported(const Found& found, MonaiNetwork network, const std::string& file) {
    if (found.arrays.contains("vae_down.0.weight") || found.arrays.contains("vae_fc1.weight"))
        throw InputError(file + " is a SegResNetVAE's, whose autoencoder is not supported: import a SegResNet");
    for (const char* mode : {"pixelshuffle", "deconvgroup"})
        for (const std::string& name : found.names)
            if (name.starts_with(std::string("up_samples.0.1.") + mode + "."))
                throw InputError(file + " upsamples by " + mode +
                                 ", which is not supported: deconv and nontrainable are");
    for (const std::string& name : found.names) {
        // At the first level, whose channels stay as many, MONAI has nothing to learn there.
        const std::string above = "upcat_4.upsample.";
        if (!name.starts_with(above) || name.starts_with(above + "deconv.")) continue;
        const std::string part = name.substr(above.size(), name.find('.', above.size()) - above.size());
        throw InputError(file + " upsamples by " + (part == "preconv" ? "nontrainable" : part) +
                         ", which is not supported in a BasicUNet: deconv is");
    }
    std::set<std::string> activated;
    for (const std::string& name : found.names) {
        if (network == MonaiNetwork::segresnet && (name.starts_with("act_mod.") || name.ends_with(".act.weight")))
            throw InputError(file +
                             " is a SegResNet with learned slopes of a prelu, which are not supported: expected "
                             "relu or leaky_relu");
        const std::size_t sides = found.arrays.at(name).shape.size();
        if ((name.ends_with("conv.weight") || name.ends_with("residual.weight")) && sides != 5)
            throw InputError(file + ": " + name + " has " + std::to_string(sides) +
                             " dimensions, but five, of a network of three dimensions, were expected");
        // A layer's modules are listed in the order in which they compute.
        if (name.ends_with(".adn.A.weight")) activated.insert(name.substr(0, name.rfind(".adn.")));
        const std::size_t norm = name.find(".adn.N.");
        if (norm != std::string::npos && activated.contains(name.substr(0, norm)))
            throw InputError(file + ": the activation of " + name.substr(0, norm) +
                             " comes before its norm (adn_ordering), which is not supported: expected NDA");
    }
}

std::string text_of(float value) {
    char text[32];
    return {text, std::to_chars(text, std::end(text), value).ptr};
}

/// What the file and the options say of all layers; what neither says is added to `assumed`.
MonaiStyle style_of(const Found& found, MonaiNetwork network, const std::string& file, const ImportOptions& options,
                    std::vector<std::string>& assumed) {
    using Norm = MonaiStyle::Norm;
    using Activation = MonaiStyle::Activation;
    const auto any = [&](const auto& of) { return std::any_of(found.names.begin(), found.names.end(), of); };
    const bool slopes = any([](const std::string& name) { return name.ends_with(".adn.A.weight"); });
    const bool scales = any(norm_array);
    const bool statistics = any([](const std::string& name) { return name.ends_with(".running_mean"); });
    const auto refuse = [&](const std::string& flag, const std::string& why) {
        throw InputError(flag + " does not apply to " + file + ": " + why);
    };
    const bool segresnet = network == MonaiNetwork::segresnet, unet = network == MonaiNetwork::unet;
    MonaiStyle style = usual_style(network);
    style.strides = options.strides;
    if (!unet && !style.strides.empty())
        refuse("--strides",
               std::string("it holds a ") + (segresnet ? "SegResNet" : "BasicUNet") + ", whose levels halve");
    if (options.from_zyx.value_or(false))
        for (Sides& s : style.strides) std::swap(s.d, s.w);
    if (!options.from_zyx) assumed.push_back("axes x, y, z");

    if (slopes && options.activation && *options.activation != Activation::prelu)
        refuse("--activation", "it has learned slopes, so that its activation is prelu");
    if (!slopes && options.activation == Activation::prelu)
        refuse("--activation", "it has no learned slopes of a prelu, expected relu or leaky_relu");
    style.activation = slopes ? Activation::prelu : options.activation.value_or(style.activation);
    if (options.slope && style.activation != Activation::leaky_relu)
        refuse("--slope", "its activation is " + name_of(style.activation) + ", not leaky_relu");
    style.slope = options.slope.value_or(style.slope);
    if (!(style.slope >= 0 && style.slope < 1))
        throw InputError("--slope is not usable: expected one from 0 to below 1");
    if (!slopes && !options.activation) assumed.push_back(name_of(style.activation));
    if (style.activation == Activation::leaky_relu && !options.slope)
        assumed.push_back("a slope of " + text_of(style.slope));

    if (statistics && options.norm) refuse("--norm", "its running statistics say that its norms are BatchNorm");
    if (scales && options.norm == Norm::none) refuse("--norm", "its norms have scales and shifts");
    if (segresnet && !scales && !statistics && !options.norm)
        throw InputError(file +
                         " is a SegResNet whose norms have no parameters: expected --norm instance, group or none");
    style.norm = statistics ? Norm::batch : options.norm.value_or(style.norm);
    if (options.groups && style.norm != Norm::group)
        refuse("--groups", "its norm is " + name_of(style.norm) + ", not group");
    style.groups = options.groups.value_or(style.groups);
    if (style.groups < 1) throw InputError("--groups " + std::to_string(style.groups) + ": expected 1 or more");
    if (!statistics && !options.norm) assumed.push_back(name_of(style.norm) + " norm");
    if (style.norm == Norm::group && !options.groups) assumed.push_back(std::to_string(style.groups) + " groups");
    if (unet && style.norm != Norm::none && !(slopes && (scales || statistics)))
        assumed.push_back("norm before activation");
    return style;
}

}  // namespace

Imported import_monai(const path& checkpoint, const path& out, const ImportOptions& options) {
    const std::string file = checkpoint.string();
    Found found = arrays_in(
        checkpoint,
        {"convInit.conv.weight", "conv_0.conv_0.conv.weight", "model.0.conv.unit0.conv.weight", "model.0.conv.weight"},
        "UNet, BasicUNet or SegResNet of MONAI's", options.prefix);
    const MonaiNetwork network = monai_network_of(found);
    require_supported(found, network, file);
    std::vector<std::string> assumed;
    const MonaiStyle style = style_of(found, network, file, options, assumed);
    const bool without_norms =
        style.norm != MonaiStyle::Norm::none && std::none_of(found.names.begin(), found.names.end(), norm_array);
    if (options.from_zyx.value_or(false))
        for (auto& [name, tensor] : found.arrays)
            if (name.ends_with("weight") && tensor.shape.size() == 5) tensor = turned(tensor);
    Imported done = write_network(std::move(found), checkpoint, out, monai_metadata(style), options, without_norms);
    if (network == MonaiNetwork::unet && options.strides.empty()) {
        assumed.insert(assumed.begin(), "strides");
        for (int level = 1; level < done.levels; ++level) assumed.front() += " 2";
    }
    done.assumed = std::move(assumed);
    return done;
}

Imported import_original(const path& checkpoint, const path& out, const ImportOptions& options) {
    return write_network(
        arrays_in(checkpoint, {"1.bridge.0.conv_path.0.layer.weight"}, "residual U-Net of the study", options.prefix),
        checkpoint, out, {}, options, false);
}

}  // namespace iwseg

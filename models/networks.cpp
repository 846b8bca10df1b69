#include "models/networks.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <stdexcept>

#include "base/error.h"
#include "base/nearest_name.h"
#include "engine/graph.h"
#include "engine/safetensors.h"
#include "engine/stored_parameter.h"
#include "models/monai_unet.h"
#include "models/plain_unet.h"
#include "models/residual_encoder_unet.h"
#include "models/segresnet.h"
#include "models/unet.h"

namespace iwseg {
namespace {

struct Kind {
    const char* name;
    const char* array;     ///< that each of its weights files holds, and no other network's
    const char* or_array;  ///< or this one; none
    Network (*make)(int in_channels, const std::vector<int>& widths, int out_channels);
    Network (*of_weights)(const std::string& file, std::map<std::string, std::string>* metadata);
};

constexpr Kind kKinds[] = {
    {"unet", "0.0.weight", nullptr,
     [](int in_channels, const std::vector<int>& widths, int out_channels) {
         return unet({.in_channels = in_channels, .out_channels = out_channels, .widths = widths});
     },
     unet_of_weights},
    {"plain_unet", "encoder.stages.0.0.convs.0.conv.weight", nullptr,
     [](int in_channels, const std::vector<int>& widths, int out_channels) {
         return plain_unet({.in_channels = in_channels, .out_channels = out_channels, .widths = widths});
     },
     plain_unet_of_weights},
    {"residual_encoder_unet", "encoder.stem.convs.0.conv.weight", nullptr,
     [](int in_channels, const std::vector<int>& widths, int out_channels) {
         return residual_encoder_unet({.in_channels = in_channels, .out_channels = out_channels, .widths = widths});
     },
     residual_encoder_unet_of_weights},
    {"monai_unet", "model.0.conv.unit0.conv.weight", "model.0.conv.weight",
     [](int in_channels, const std::vector<int>& widths, int out_channels) {
         return monai_unet({.in_channels = in_channels, .out_channels = out_channels, .widths = widths});
     },
     monai_unet_of_weights},
    {"segresnet", "convInit.conv.weight", nullptr,
     [](int in_channels, const std::vector<int>& widths, int out_channels) {
         return segresnet(in_channels, widths, out_channels);
     },
     segresnet_of_weights},
};

/// A network is counted and sized by some of its file's shapes. Before memory is taken for all of them, each array is
/// held to the network's: a small file can ask for no more than what it has. Arrays of one side follow from those.
void require_shapes(const Network& network, const std::map<std::string, StoredTensor>& stored,
                    const std::string& file) {
    Graph graph;
    const std::int64_t side = network.padded(2 * std::int64_t{network.divisor});
    network.build(graph.input("patch", {1, network.in_channels, side, side, side}));
    for (const ParameterSpec& parameter : graph.parameters())
        if (parameter.shape.size() > 1 || stored.contains(parameter.name))
            stored_array(file, stored, parameter.name, parameter.shape);
}

}  // namespace

const std::vector<std::string>& network_names() {
    static const std::vector<std::string> names = [] {
        std::vector<std::string> all;
        for (const Kind& kind : kKinds) all.emplace_back(kind.name);
        return all;
    }();
    return names;
}

Network make_network(const std::string& name, int in_channels, const std::vector<int>& widths, int out_channels) {
    for (const Kind& kind : kKinds)
        if (name == kind.name) return kind.make(in_channels, widths, out_channels);
    std::string all;
    for (const std::string& known : network_names()) all += (all.empty() ? "" : ", ") + known;
    const std::string nearest = nearest_name(name, network_names());
    throw InputError("unknown network '" + name + "'" + (nearest.empty() ? "" : " (nearest: '" + nearest + "')") +
                     "; expected one of " + all);
}

Network network_of_weights(const std::string& file, std::map<std::string, std::string>* metadata) {
    const auto stored = read_safetensors_header(file);
    const auto* const kind = std::find_if(std::begin(kKinds), std::end(kKinds), [&](const Kind& one) {
        return stored.contains(one.array) || (one.or_array && stored.contains(one.or_array));
    });
    if (kind != std::end(kKinds)) {
        // Networks' own sentences name no file.
        const auto named = [&](const std::string& what) {
            return InputError(what.find(file) == std::string::npos ? file + ": " + what : what);
        };
        try {
            Network network = kind->of_weights(file, metadata);
            require_shapes(network, stored, file);
            return network;
        } catch (const InputError& error) {
            throw named(error.what());
        } catch (const std::invalid_argument& error) {
            throw named(error.what());
        }
    }
    std::string wanted;
    for (const Kind& one : kKinds)
        wanted += (wanted.empty() ? "" : ", or ") + std::string(one.array) + " (" + one.name + ")";
    throw InputError(file + " does not hold the weights of a network that is known: expected an array " + wanted);
}

}  // namespace iwseg

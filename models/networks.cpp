#include "models/networks.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <stdexcept>

#include "base/error.h"
#include "base/nearest_name.h"
#include "engine/graph.h"
#include "engine/safetensors.h"
#include "engine/stored_parameter.h"
#include "models/network_kind.h"

namespace iwseg {
namespace {

struct Row {
    const char* name;
    const NetworkKind& kind;
};

#define IWSEG_NETWORK_ROW(name) {#name, network_kinds::name},
constexpr Row kRows[] = {IWSEG_NETWORKS(IWSEG_NETWORK_ROW)};
#undef IWSEG_NETWORK_ROW

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
        for (const Row& row : kRows) all.emplace_back(row.name);
        return all;
    }();
    return names;
}

const std::string& network_choices() {
    static const std::string choices = [] {
        const std::vector<std::string>& names = network_names();
        std::string all = names.front();
        for (std::size_t i = 1; i < names.size(); ++i) all += (i + 1 < names.size() ? ", " : " or ") + names[i];
        return all;
    }();
    return choices;
}

Network make_network(const std::string& name, int in_channels, const std::vector<int>& widths, int out_channels) {
    for (const Row& row : kRows)
        if (name == row.name) return row.kind.make(in_channels, widths, out_channels);
    std::string all;
    for (const std::string& known : network_names()) all += (all.empty() ? "" : ", ") + known;
    const std::string nearest = nearest_name(name, network_names());
    throw InputError("unknown network '" + name + "'" + (nearest.empty() ? "" : " (nearest: '" + nearest + "')") +
                     "; expected one of " + all);
}

Network network_of_weights(const std::string& file, std::map<std::string, std::string>* metadata) {
    const auto stored = read_safetensors_header(file);
    const auto* const row = std::find_if(std::begin(kRows), std::end(kRows), [&](const Row& one) {
        return stored.contains(one.kind.array) || (one.kind.or_array && stored.contains(one.kind.or_array));
    });
    if (row != std::end(kRows)) {
        // Networks' own sentences name no file.
        const auto named = [&](const std::string& what) {
            return InputError(what.find(file) == std::string::npos ? file + ": " + what : what);
        };
        try {
            Network network = row->kind.of_weights(file, metadata);
            require_shapes(network, stored, file);
            return network;
        } catch (const InputError& error) {
            throw named(error.what());
        } catch (const std::invalid_argument& error) {
            throw named(error.what());
        }
    }
    std::string wanted;
    for (const Row& one : kRows)
        wanted += (wanted.empty() ? "" : ", or ") + std::string(one.kind.array) + " (" + one.name + ")";
    throw InputError(file + " does not hold the weights of a network that is known: expected an array " + wanted);
}

}  // namespace iwseg

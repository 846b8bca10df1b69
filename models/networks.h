#pragma once

#include <map>
#include <string>
#include <vector>

#include "models/network.h"

// The networks that configurations choose from by name (models/network_kind.h).
namespace iwseg {

const std::vector<std::string>& network_names();
/// All of them, as in "unet, plain_unet or segresnet".
const std::string& network_choices();

/// Throws InputError naming the nearest known one, and where the network does not take that many widths.
Network make_network(const std::string& name, int in_channels, const std::vector<int>& widths, int out_channels = 1);

/// The network that a weights file was written for, read from the names and shapes in its header, and what its metadata
/// say. The weights are not read. Throws InputError, naming the file, where it is none of these networks'.
Network network_of_weights(const std::string& file, std::map<std::string, std::string>* metadata = nullptr);

}  // namespace iwseg

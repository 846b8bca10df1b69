#pragma once

#include <map>
#include <string>
#include <vector>

#include "models/network.h"

// The networks that configurations choose from by name, in the order in which sentences list them. Adding one is adding
// its row, and a file models/NAME.cpp that defines network_kinds::NAME.
#define IWSEG_NETWORKS(ROW)    \
    ROW(unet)                  \
    ROW(plain_unet)            \
    ROW(residual_encoder_unet) \
    ROW(monai_unet)            \
    ROW(segresnet)             \
    ROW(basic_unet)

namespace iwseg {

/// What there is to know of a network that is chosen by name.
struct NetworkKind {
    const char* array;               ///< that each of its weights files holds, and no other network's
    const char* or_array = nullptr;  ///< or this one; none
    /// Throws InputError where it does not take these widths.
    Network (*make)(int in_channels, const std::vector<int>& widths, int out_channels);
    /// The network that a weights file was written for, read from the shapes in its header and its metadata, which are
    /// given too where asked for. Throws InputError where the file does not hold all that it needs.
    Network (*of_weights)(const std::string& file, std::map<std::string, std::string>* metadata);
};

namespace network_kinds {
#define IWSEG_DECLARE_NETWORK(name) extern const NetworkKind name;
IWSEG_NETWORKS(IWSEG_DECLARE_NETWORK)
#undef IWSEG_DECLARE_NETWORK
}  // namespace network_kinds

}  // namespace iwseg

#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "engine/tensor.h"

namespace iwseg {

/// A network as a value: what training, prediction and measurements take. Anything that makes logits of an image is
/// one, as in `Network([](Tensor x) { return conv(x, {.channels = 1}); })`.
struct Network {
    std::string name = "network";  ///< for messages
    int in_channels = 1, out_channels = 1;
    int divisor = 1;               ///< each side of an image must be a multiple of it
    std::vector<int> widths = {};  ///< channels of its levels, as a configuration lists them; may be empty
    /// Logits (N, out, D, H, W) of an image (N, in, D, H, W), added to the image's graph. Called once for each shape
    /// that is planned; each call declares the same parameters. Throws InputError on a shape that it does not take.
    std::function<Tensor(Tensor image)> build;
    /// Of a network with heads: what it is trained by, logits (N, out, …) of several resolutions. The first are those
    /// of build(), which declares all heads too. Else empty.
    std::function<std::vector<Tensor>(Tensor image)> build_levels = {};
    /// The same network with heads (deep supervision); empty: there is none, or it has them.
    std::function<Network()> with_heads = {};

    Network() = default;
    /// A network of one input channel and one output channel, for any sides that `make` takes.
    template <class Build>
    requires(!std::same_as<std::remove_cvref_t<Build>, Network> && std::is_invocable_r_v<Tensor, Build, Tensor>)
        Network(Build&& make)
        : build(std::forward<Build>(make)) {}

    /// The smallest side that it takes and that holds this many voxels.
    std::int64_t padded(std::int64_t side) const { return (side + divisor - 1) / divisor * divisor; }
};

}  // namespace iwseg

#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/tensor.h"
#include "kernels/device/view.h"

namespace iwseg {

/// What is alike in all of a MONAI network's layers, and cannot be read from the shapes of its weights.
struct MonaiStyle {
    enum class Norm : unsigned char { instance, batch, group, none };
    enum class Activation : unsigned char { prelu, relu, leaky_relu };

    Norm norm = Norm::instance;
    int groups = 8;  ///< of Norm::group
    Activation activation = Activation::prelu;
    bool slope_per_channel = false;   ///< of prelu
    float slope = 0.01f;              ///< of leaky_relu, PyTorch's
    std::vector<Sides> strides = {};  ///< of the UNet's levels but the deepest; empty: 2
};

/// NAME.weight and NAME.bias, and running statistics of a batch norm; x itself where there is none.
Tensor monai_norm(Tensor x, const std::string& name, const MonaiStyle& style);
/// prelu's slopes are NAME.weight; others have no parameters.
Tensor monai_activation(Tensor x, const std::string& name, const MonaiStyle& style);

/// As metadata of a weights file, under "monai": {"activation": "relu", "groups": 8, "norm": "instance", "slope": 0.01,
/// "strides": [[2, 2, 2]]}.
std::map<std::string, std::string> monai_metadata(const MonaiStyle& style);
/// What a file's metadata say, over what `style` holds. Throws InputError, naming the file, where that is not usable.
MonaiStyle monai_style_in(const std::map<std::string, std::string>& metadata, const std::string& file,
                          MonaiStyle style);

/// "prelu", "relu" or "leaky_relu"; none where it is another.
std::optional<MonaiStyle::Activation> monai_activation_named(const std::string& name);
std::string name_of(MonaiStyle::Activation activation);
/// "instance", "batch", "group" or "none"; none where it is another.
std::optional<MonaiStyle::Norm> monai_norm_named(const std::string& name);
std::string name_of(MonaiStyle::Norm norm);

}  // namespace iwseg

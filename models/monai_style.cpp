#include "models/monai_style.h"

#include <array>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "engine/ops/batch_norm.h"
#include "engine/ops/group_norm.h"
#include "engine/ops/instance_norm.h"
#include "engine/ops/prelu.h"
#include "engine/ops/relu.h"
#include "models/unet_stages.h"

namespace iwseg {
namespace {

using nlohmann::json;

constexpr const char* kMonaiKey = "monai";
constexpr std::array<std::pair<const char*, MonaiStyle::Activation>, 3> kMonaiActivations{
    {{"prelu", MonaiStyle::Activation::prelu},
     {"relu", MonaiStyle::Activation::relu},
     {"leaky_relu", MonaiStyle::Activation::leaky_relu}}};
constexpr std::array<std::pair<const char*, MonaiStyle::Norm>, 4> kMonaiNorms{{{"instance", MonaiStyle::Norm::instance},
                                                                               {"batch", MonaiStyle::Norm::batch},
                                                                               {"group", MonaiStyle::Norm::group},
                                                                               {"none", MonaiStyle::Norm::none}}};

template <class Value, std::size_t count>
std::optional<Value> value_named(const std::array<std::pair<const char*, Value>, count>& all, const std::string& name) {
    for (const auto& [known, value] : all)
        if (name == known) return value;
    return std::nullopt;
}
template <class Value, std::size_t count>
std::string name_in(const std::array<std::pair<const char*, Value>, count>& all, Value value) {
    for (const auto& [name, known] : all)
        if (value == known) return name;
    return "";
}

[[noreturn]] void refuse_monai_key(const std::string& file, const std::string& text) {
    throw InputError(file + ": " + kMonaiKey + " = " + text.substr(0, 60) +
                     " is not usable, expected what iwseg import monai writes");
}

}  // namespace

Tensor monai_norm(Tensor x, const std::string& name, const MonaiStyle& style) {
    switch (style.norm) {
        case MonaiStyle::Norm::instance:
            return instance_norm(x, {.name = name});
        case MonaiStyle::Norm::batch:
            return batch_norm(x, {.name = name});
        case MonaiStyle::Norm::none:
            return x;
        case MonaiStyle::Norm::group:
            break;
    }
    return group_norm(x, style.groups, {.name = name});
}

Tensor monai_activation(Tensor x, const std::string& name, const MonaiStyle& style) {
    switch (style.activation) {
        case MonaiStyle::Activation::prelu:
            return prelu(x, {.per_channel = style.slope_per_channel, .name = name});
        case MonaiStyle::Activation::relu:
            return relu(x);
        case MonaiStyle::Activation::leaky_relu:
            break;
    }
    return leaky_relu(x, style.slope);
}

std::map<std::string, std::string> monai_metadata(const MonaiStyle& style) {
    json keys{{"activation", name_of(style.activation)},
              {"groups", style.groups},
              {"norm", name_of(style.norm)},
              {"slope", style.slope},
              {"strides", json::array()}};
    for (const Sides& s : style.strides) keys["strides"].push_back({s.d, s.h, s.w});
    return {{kMonaiKey, keys.dump()}};
}

MonaiStyle monai_style_in(const std::map<std::string, std::string>& metadata, const std::string& file,
                          MonaiStyle style) {
    const auto found = metadata.find(kMonaiKey);
    if (found == metadata.end()) return style;
    const std::string& text = found->second;
    const json keys = json::parse(text, nullptr, false);
    const auto whole = [&](const json& value, int most) {
        if (!value.is_number_integer() || value < 1 || value > most) refuse_monai_key(file, text);
        return value.get<int>();
    };
    if (!keys.is_object() || !keys.contains("activation") || !keys["activation"].is_string() ||
        !keys.contains("norm") || !keys["norm"].is_string() || !keys.contains("groups") || !keys.contains("slope") ||
        !keys["slope"].is_number() || !keys.contains("strides") || !keys["strides"].is_array())
        refuse_monai_key(file, text);
    const auto activation = monai_activation_named(keys["activation"].get<std::string>());
    const auto norm = monai_norm_named(keys["norm"].get<std::string>());
    if (!activation || !norm) refuse_monai_key(file, text);
    style.activation = *activation;
    style.norm = *norm;
    style.groups = whole(keys["groups"], 1 << 16);
    style.slope = keys["slope"].get<float>();
    if (!(style.slope >= 0 && style.slope < 1)) refuse_monai_key(file, text);
    style.strides.clear();
    for (const json& sides : keys["strides"]) {
        if (!sides.is_array() || sides.size() != 3) refuse_monai_key(file, text);
        style.strides.emplace_back(whole(sides[0], kMostSide), whole(sides[1], kMostSide), whole(sides[2], kMostSide));
    }
    return style;
}

std::optional<MonaiStyle::Activation> monai_activation_named(const std::string& name) {
    return value_named(kMonaiActivations, name);
}

std::string name_of(MonaiStyle::Activation activation) {
    return name_in(kMonaiActivations, activation);
}

std::optional<MonaiStyle::Norm> monai_norm_named(const std::string& name) {
    return value_named(kMonaiNorms, name);
}

std::string name_of(MonaiStyle::Norm norm) {
    return name_in(kMonaiNorms, norm);
}

}  // namespace iwseg

#include "nnunet/json_keys.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "base/error.h"

namespace iwseg::nnunet {
namespace {

bool is_within(const Keys::Json& value, int least, int most) {
    // Planners write whole numbers as 2.0, too.
    if (!value.is_number()) return false;
    const double number = value.get<double>();
    return number == std::floor(number) && number >= least && number <= most;
}

std::string range(int least, int most) {
    return fmt::format("from {} to {}", least, most);
}

}  // namespace

Keys::Keys(const Json& object, std::string file, std::string way)
    : object_(&object), file_(std::move(file)), way_(std::move(way)) {
    if (!object.is_object())
        throw InputError(way_.empty() ? fmt::format("{} is no JSON object", file_)
                                      : fmt::format("{}: {} is no object", file_, way_));
}

const Keys::Json& Keys::at(const std::string& key) const {
    if (!object_->contains(key)) throw InputError(fmt::format("{} has no {}", file_, way_to(key)));
    return (*object_)[key];
}

Keys Keys::object(const std::string& key) const {
    return {at(key), file_, way_to(key)};
}

void Keys::refuse(const std::string& key, const std::string& expected) const {
    std::string value = at(key).dump(-1, ' ', false, Json::error_handler_t::replace);
    if (value.size() > 60) value = value.substr(0, 57) + "...";
    throw InputError(fmt::format("{}: {} = {} is not usable: expected {}", file_, way_to(key), value, expected));
}

std::string Keys::text(const std::string& key) const {
    if (!at(key).is_string()) refuse(key, "text");
    return at(key).get<std::string>();
}

bool Keys::boolean(const std::string& key) const {
    if (!at(key).is_boolean()) refuse(key, "true or false");
    return at(key).get<bool>();
}

int Keys::integer(const std::string& key, int least, int most) const {
    if (!is_within(at(key), least, most)) refuse(key, "a whole number " + range(least, most));
    return static_cast<int>(at(key).get<double>());
}

double Keys::real(const std::string& key) const {
    if (!at(key).is_number() || !std::isfinite(at(key).get<double>())) refuse(key, "a finite number");
    return at(key).get<double>();
}

std::vector<int> Keys::integers(const std::string& key, int least, int most) const {
    std::vector<int> all;
    if (!at(key).is_array()) refuse(key, "a list");
    for (const Json& value : at(key)) {
        if (!is_within(value, least, most)) refuse(key, "whole numbers " + range(least, most));
        all.push_back(static_cast<int>(value.get<double>()));
    }
    return all;
}

std::vector<double> Keys::reals(const std::string& key) const {
    std::vector<double> all;
    if (!at(key).is_array()) refuse(key, "a list");
    for (const Json& value : at(key)) {
        if (!value.is_number() || !std::isfinite(value.get<double>())) refuse(key, "finite numbers");
        all.push_back(value.get<double>());
    }
    return all;
}

std::vector<Sides> Keys::sides(const std::string& key, int least, int most) const {
    std::vector<Sides> all;
    if (!at(key).is_array()) refuse(key, "a list");
    for (const Json& value : at(key)) {
        const bool three = value.is_array() && value.size() == 3;
        if (!three && !is_within(value, least, most))
            refuse(key, "three whole numbers " + range(least, most) + " a stage");
        for (std::size_t axis = 0; three && axis < 3; ++axis)
            if (!is_within(value[axis], least, most))
                refuse(key, "three whole numbers " + range(least, most) + " a stage");
        const auto side = [&](std::size_t axis) {
            return static_cast<int>((three ? value[axis] : value).get<double>());
        };
        all.emplace_back(side(0), side(1), side(2));
    }
    return all;
}

}  // namespace iwseg::nnunet

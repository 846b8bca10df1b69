#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kernels/device/view.h"

namespace iwseg::nnunet {

/// Values of a JSON object by their keys, in the order of the file. Each refusal is an InputError that names the file
/// and the way to the key, as `configurations.3d_fullres.patch_size`.
class Keys {
  public:
    using Json = nlohmann::ordered_json;

    /// way: from the file's top to the object; may be empty. Throws where it is no object.
    Keys(const Json& object, std::string file, std::string way = "");

    bool contains(const std::string& key) const { return object_->contains(key) && !(*object_)[key].is_null(); }
    const Json& at(const std::string& key) const;
    Keys object(const std::string& key) const;
    const Json& json() const { return *object_; }

    std::string text(const std::string& key) const;
    bool boolean(const std::string& key) const;
    /// Throws where it is not within the bounds.
    int integer(const std::string& key, int least, int most) const;
    double real(const std::string& key) const;
    std::vector<int> integers(const std::string& key, int least, int most) const;
    std::vector<double> reals(const std::string& key) const;
    /// One triple a stage, or one number for all three axes.
    std::vector<Sides> sides(const std::string& key, int least, int most) const;

    /// Throws: the file, the way to the key, its value, and what was expected.
    [[noreturn]] void refuse(const std::string& key, const std::string& expected) const;
    std::string way_to(const std::string& key) const { return way_.empty() ? key : way_ + "." + key; }
    const std::string& file() const { return file_; }

  private:
    const Json* object_;
    std::string file_, way_;
};

}  // namespace iwseg::nnunet

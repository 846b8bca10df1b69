#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engine/safetensors.h"

namespace iwseg {

/// One array of a network: learned, or a running statistic.
struct Parameter {
    std::string name;                 ///< as in the original's state_dict
    std::vector<std::int64_t> shape;
    std::int64_t offset = 0;          ///< elements from the start of its flat buffer
    std::int64_t elements = 0;
    bool learned = true;              ///< else a running statistic
};

/// All of a network's arrays: learned values, their gradients and their momentum in three flat f32 buffers of one
/// order, running statistics in a fourth.
class Parameters {
  public:
    /// Returns the parameter's index, adding it, zero, where it is new. Throws std::invalid_argument where the name has
    /// another shape.
    int declare(const std::string& name, const std::vector<std::int64_t>& shape, bool learned);

    int size() const { return static_cast<int>(list_.size()); }
    const Parameter& operator[](int index) const { return list_[index]; }
    /// By name; throw std::out_of_range where there is none of it.
    int index(const std::string& name) const;
    const Parameter& find(const std::string& name) const { return list_[index(name)]; }

    std::int64_t learned_elements() const { return static_cast<std::int64_t>(values_.size()); }
    float* value(int index);     ///< of a learned parameter or a statistic
    float* gradient(int index);  ///< of a learned parameter
    std::vector<float>& values() { return values_; }
    /// Made, zero, when first asked for: prediction never does.
    std::vector<float>& gradients();
    std::vector<float>& momentum();
    std::int64_t batches_tracked = 0;

    /// Sets every array from a safetensors file. Throws InputError, naming file and array, where one is missing, is of
    /// another shape or is not known.
    void load(const std::filesystem::path& file);
    void save(const std::filesystem::path& file, const std::map<std::string, std::string>& metadata = {}) const;
    /// Momentum, under the parameters' names.
    void load_momentum(const std::filesystem::path& file);
    void save_momentum(const std::filesystem::path& file);

  private:
    std::vector<Parameter> list_;
    std::map<std::string, int> index_;
    std::vector<float> values_, gradients_, momentum_, statistics_;
};

}  // namespace iwseg

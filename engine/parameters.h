#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/device_memory.h"
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

/// What makes an array's values unusable, as in "0.0.weight holds a value that is not finite" or "0.1.bn.running_var holds
/// a negative variance"; nothing where they can be used. A network with such a value answers "not a number" for every
/// voxel, which a mask shows as "no lesion".
std::optional<std::string> unusable_values(const Parameter& parameter, std::span<const float> values);

/// All of a network's arrays: learned values, their gradients and their momentum in three flat f32 buffers of one
/// order, running statistics in a fourth. On a device with memory of its own each has a twin there, which steps read and
/// write; upload() and download() make one like the other, loading and saving do so themselves.
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

    std::int64_t learned_elements() const { return static_cast<std::int64_t>(values_.host.size()); }
    float* value(int index);     ///< of a learned parameter or a statistic; host memory
    float* gradient(int index);  ///< of a learned parameter; host memory
    std::vector<float>& values() { return values_.host; }
    /// Made, zero, when first asked for: prediction never does.
    std::vector<float>& gradients();
    std::vector<float>& momentum();

    /// From here on steps run on that device: places the flat buffers there, those of training too where asked, and
    /// uploads them. Declare all parameters first. The device and its stream must outlive the parameters.
    void place(const Kernels& device, Stream stream, bool training);
    void upload();    ///< values, statistics and momentum; nothing to do where the host's memory is the device's
    void download();  ///< the same, and gradients
    /// For steps: device memory.
    float* device_value(int index);
    float* device_gradient(int index);
    float* device_values() { return on_device(values_); }
    float* device_gradients() { return on_device(gradients_); }
    float* device_momentum() { return on_device(momentum_); }

    std::int64_t batches_tracked = 0;

    /// Sets every array from a safetensors file. Throws InputError, naming file and array, where one is missing, is of
    /// another shape, is not known, or holds a value that is not finite or a variance below 0.
    void load(const std::filesystem::path& file);
    void save(const std::filesystem::path& file, const std::map<std::string, std::string>& metadata = {});
    /// Momentum, under the parameters' names. Throws as load.
    void load_momentum(const std::filesystem::path& file);
    void save_momentum(const std::filesystem::path& file);

  private:
    /// A flat buffer and its twin, if the device has memory of its own.
    struct Flat {
        std::vector<float> host;
        std::unique_ptr<DeviceMemory> device;
        std::int64_t bytes() const { return static_cast<std::int64_t>(host.size() * sizeof(float)); }
    };
    static float* on_device(Flat& flat) {
        return flat.device ? reinterpret_cast<float*>(flat.device->data()) : flat.host.data();
    }

    std::vector<Parameter> list_;
    std::map<std::string, int> index_;
    Flat values_, gradients_, momentum_, statistics_;
    const Kernels* device_ = nullptr;
    Stream stream_;
};

}  // namespace iwseg

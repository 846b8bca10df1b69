#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/flat_array.h"
#include "engine/parameter_spec.h"
#include "engine/safetensors.h"

namespace iwseg {

/// Which of the parameters.
struct ParameterId {
    int index = -1;

    explicit operator bool() const { return index >= 0; }
    bool operator==(const ParameterId&) const = default;
};

/// One array of a network: learned, or a running statistic.
struct Parameter {
    std::string name;  ///< as in the original's state_dict
    std::vector<std::int64_t> shape;
    std::int64_t offset = 0;  ///< elements from the start of its flat buffer
    std::int64_t elements = 0;
    bool learned = true;   ///< else a running statistic
    Initial initial = {};  ///< what initialise() sets
};

/// What makes an array's values unusable, as in "0.0.weight holds a value that is not finite" or "0.1.bn.running_var
/// holds a negative variance"; nothing where they can be used. A network with such a value answers "not a number" for
/// every voxel, which a mask shows as "no lesion".
std::optional<std::string> unusable_values(const Parameter& parameter, std::span<const float> values);

/// All of a network's arrays: learned values and their gradients in two flat f32 buffers of one order, running
/// statistics in a third. On a device with memory of its own each has a copy there, which calls read and write;
/// upload() and download() make one like the other, loading and saving do so themselves. A copy of this object is a
/// handle of the same arrays, which live as long as a handle or a plan that reads them.
class Parameters {
  public:
    /// Adds it, zero, where it is new. Throws std::invalid_argument where the name has another shape.
    ParameterId declare(const ParameterSpec& spec);

    /// All, in the order they were declared in.
    const std::vector<Parameter>& list() const { return state_->list; }
    int size() const { return static_cast<int>(state_->list.size()); }
    const Parameter& operator[](ParameterId id) const { return state_->list.at(static_cast<std::size_t>(id.index)); }
    /// By name; throws std::out_of_range where there is none of it.
    ParameterId find(const std::string& name) const;

    std::int64_t learned_elements() const { return static_cast<std::int64_t>(state_->values.host.size()); }
    float* value(ParameterId id) const;     ///< of a learned parameter or a statistic; host memory
    float* gradient(ParameterId id) const;  ///< of a learned parameter; host memory
    std::vector<float>& values() { return state_->values.host; }
    /// Made, zero, when first asked for: prediction never does.
    std::vector<float>& gradients() const;
    /// Of running statistics.
    std::vector<float>& statistics() { return state_->statistics.host; }

    /// From here on steps run on that device: places the flat buffers there, gradients too for training, and uploads
    /// those that it places. Declare all parameters first. The device and its stream must outlive the parameters.
    void place(const Backend& device, Stream stream, bool training);
    void upload();    ///< values and statistics; nothing to do where the host's memory is the device's
    void download();  ///< the same, and gradients
    /// For calls: device memory.
    float* device_value(ParameterId id) const;
    float* device_gradient(ParameterId id) const;
    float* device_values() const { return state_->values.on_device(); }
    float* device_gradients() const { return state_->gradients.on_device(); }
    float* device_statistics() const { return state_->statistics.on_device(); }

    /// Training steps so far, as PyTorch counts the batches of running statistics.
    std::int64_t batches_tracked() const { return state_->batches_tracked; }
    void set_batches_tracked(std::int64_t batches) { state_->batches_tracked = batches; }

    /// Sets every array from a safetensors file. Throws InputError, naming file and array, where one is missing, is of
    /// another shape, is not known, or holds a value that is not finite or a variance below 0.
    void load(const std::filesystem::path& file);
    /// The same from arrays that were read from a file, which has that name in sentences.
    void load(const std::map<std::string, StoredTensor>& stored, const std::string& file);
    void save(const std::filesystem::path& file, const std::map<std::string, std::string>& metadata = {});

  private:
    struct State {
        std::vector<Parameter> list;
        std::map<std::string, int> index;
        FlatArray values, gradients, statistics;
        std::int64_t batches_tracked = 0;
        const Backend* device = nullptr;
        Stream stream;
    };

    std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace iwseg

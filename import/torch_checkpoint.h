#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "engine/safetensors.h"
#include "import/pickle.h"

namespace iwseg {

/// A file that torch.save wrote (PyTorch 1.6 or newer): a zip archive of a pickle and of the storages that its tensors
/// lie in. Reads no more of it than is asked for; nothing in it is run (import/pickle.h).
class TorchCheckpoint {
  public:
    /// Throws InputError, naming the file, where it is missing, damaged, of the format before 1.6, of a processor with
    /// another byte order, or holds what import/pickle.h refuses.
    explicit TorchCheckpoint(const std::filesystem::path& file);
    ~TorchCheckpoint();
    TorchCheckpoint(const TorchCheckpoint&) = delete;
    TorchCheckpoint& operator=(const TorchCheckpoint&) = delete;

    /// What was given to torch.save.
    Pickle::Value root() const { return pickle_->root(); }
    /// A tensor's elements, side by side, as safetensors has them. Throws InputError where it reaches beyond its
    /// storage, or that is missing or of another size.
    StoredTensor read(const PickledTensor& tensor) const;

  private:
    class Archive;
    std::unique_ptr<Archive> archive_;
    std::unique_ptr<Pickle> pickle_;
};

}  // namespace iwseg

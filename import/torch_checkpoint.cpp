#include "import/torch_checkpoint.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <utility>

#include "base/error.h"
#include "import/zip_archive.h"

namespace iwseg {
namespace {

constexpr std::uint64_t kMostPickleBytes = std::uint64_t{1} << 24;  ///< a state of a thousand tensors has 200 KB

struct StorageType {
    const char *torch, *safetensors;
    std::int64_t bytes;
};
constexpr std::array kTypes{
    StorageType{"FloatStorage", "F32", 4}, StorageType{"DoubleStorage", "F64", 8},
    StorageType{"HalfStorage", "F16", 2},  StorageType{"BFloat16Storage", "BF16", 2},
    StorageType{"LongStorage", "I64", 8},  StorageType{"IntStorage", "I32", 4},
    StorageType{"ByteStorage", "U8", 1},   StorageType{"BoolStorage", "BOOL", 1},
};

/// Whether a file begins as a pickle does: torch.save before 1.6 wrote several, one after another.
bool begins_as_pickle(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    return in.get() == 0x80;
}

/// The elements that a tensor reaches, from the first to past the last; -1 where that is beyond 64 bits.
std::int64_t reach(const PickledTensor& tensor) {
    std::int64_t last = 0;
    for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
        if (tensor.shape[i] == 0) return 0;
        std::int64_t along = 0;
        if (__builtin_mul_overflow(tensor.shape[i] - 1, tensor.strides[i], &along) ||
            __builtin_add_overflow(last, along, &last))
            return -1;
    }
    return __builtin_add_overflow(last, std::int64_t{1}, &last) ? -1 : last;
}

/// Copies elements of `size` bytes, the last axis innermost, to where they lie side by side.
void gather(const PickledTensor& tensor, const std::byte* from, std::size_t size, std::size_t axis, std::byte*& to) {
    if (axis == tensor.shape.size()) {
        std::memcpy(to, from, size);
        to += size;
        return;
    }
    for (std::int64_t i = 0; i < tensor.shape[axis]; ++i)
        gather(tensor, from + i * tensor.strides[axis] * static_cast<std::int64_t>(size), size, axis + 1, to);
}

}  // namespace

/// The zip archive. All its names begin with the folder that torch.save puts them into.
class TorchCheckpoint::Archive {
  public:
    explicit Archive(const std::filesystem::path& file) : file_(file.string()), zip_(opened(file)) {
        for (const auto& [name, entry] : zip_.entries())
            if (const std::size_t slash = name.find("/data.pkl");
                slash != std::string::npos && slash + 9 == name.size())
                folder_ = name.substr(0, slash + 1);
        if (folder_.empty()) throw InputError(file_ + " is no file of torch.save's: its archive has no data.pkl");
    }

    const std::string& file() const { return file_; }
    bool contains(const std::string& name) const { return zip_.entries().contains(folder_ + name); }

    /// A file of the archive, which must have so many bytes; -1: at most kMostPickleBytes.
    std::vector<std::byte> read(const std::string& name, std::int64_t expected) const {
        const std::string refusal = file_ + " is damaged: " + name;
        const auto found = zip_.entries().find(folder_ + name);
        if (found == zip_.entries().end()) throw InputError(refusal + " is missing");
        const ZipArchive::Entry& entry = found->second;
        if (expected < 0 ? entry.bytes > kMostPickleBytes : entry.bytes != static_cast<std::uint64_t>(expected))
            throw InputError(refusal + " has " + std::to_string(entry.bytes) + " bytes" +
                             (expected < 0 ? "" : ", expected " + std::to_string(expected)));
        // torch.save stores all as it is: so what is promised lies there, and no small file asks for much memory.
        if (!entry.stored()) throw InputError(refusal + " is compressed, which torch.save does not do");
        if (entry.bytes > std::filesystem::file_size(file_))
            throw InputError(refusal + " is larger than the whole file");
        return zip_.read(folder_ + name);
    }

  private:
    /// The file, where it can be an archive: what else a checkpoint may be is told apart before.
    static const std::filesystem::path& opened(const std::filesystem::path& file) {
        if (!std::filesystem::is_regular_file(file)) throw InputError("no file " + file.string());
        if (begins_as_pickle(file))
            throw InputError(file.string() + " is of the format before PyTorch 1.6: load it there and save it again");
        return file;
    }

    std::string file_, folder_;
    ZipArchive zip_;
};

TorchCheckpoint::TorchCheckpoint(const std::filesystem::path& file) : archive_(std::make_unique<Archive>(file)) {
    if (archive_->contains("byteorder")) {
        const std::vector<std::byte> order = archive_->read("byteorder", -1);
        if (std::string(reinterpret_cast<const char*>(order.data()), order.size()) != "little")
            throw InputError(archive_->file() + " was written with the first byte first, which is not read");
    }
    pickle_ = std::make_unique<Pickle>(archive_->read("data.pkl", -1), archive_->file());
}

TorchCheckpoint::~TorchCheckpoint() = default;

StoredTensor TorchCheckpoint::read(const PickledTensor& tensor) const {
    const std::string refusal = archive_->file() + " is damaged: a tensor of the storage data/" + tensor.storage;
    const auto type = std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& t) { return tensor.type == t.torch; });
    if (type == kTypes.end()) throw InputError(archive_->file() + " holds a tensor of " + tensor.type);
    const std::int64_t reached = reach(tensor);
    std::int64_t bytes = 0, end = 0, elements = 1;
    if (reached < 0 || __builtin_add_overflow(tensor.offset, reached, &end) || end > tensor.storage_elements ||
        __builtin_mul_overflow(tensor.storage_elements, type->bytes, &bytes))
        throw InputError(refusal + " reaches beyond it");
    // Where strides are 0 a small storage could be a tensor of any size.
    for (const std::int64_t side : tensor.shape)
        if (__builtin_mul_overflow(elements, side, &elements) || elements > tensor.storage_elements)
            throw InputError(refusal + " has more elements than it");
    const std::vector<std::byte> storage = archive_->read("data/" + tensor.storage, bytes);
    StoredTensor made{type->safetensors, tensor.shape, {}};
    made.bytes.resize(static_cast<std::size_t>(elements * type->bytes));
    std::byte* to = made.bytes.data();
    if (elements > 0)
        gather(tensor, storage.data() + tensor.offset * type->bytes, static_cast<std::size_t>(type->bytes), 0, to);
    return made;
}

}  // namespace iwseg

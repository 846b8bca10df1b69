#include "import/torch_checkpoint.h"

#include <zip.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <utility>

#include "base/error.h"

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
    explicit Archive(const std::filesystem::path& file) : file_(file.string()) {
        if (!std::filesystem::is_regular_file(file)) throw InputError("no file " + file_);
        int error = 0;
        zip_ = zip_open(file_.c_str(), ZIP_RDONLY, &error);
        if (!zip_ && begins_as_pickle(file))
            throw InputError(file_ + " is of the format before PyTorch 1.6: load it there and save it again");
        if (!zip_) throw InputError(file_ + " is no file of torch.save's, or damaged: it is no zip archive");
        for (zip_int64_t i = 0; i < zip_get_num_entries(zip_, 0); ++i) {
            const char* name = zip_get_name(zip_, static_cast<zip_uint64_t>(i), 0);
            const std::string text = name ? name : "";
            if (const std::size_t slash = text.find("/data.pkl");
                slash != std::string::npos && slash + 9 == text.size())
                folder_ = text.substr(0, slash + 1);
        }
        if (folder_.empty()) {
            zip_discard(zip_);
            throw InputError(file_ + " is no file of torch.save's: its archive has no data.pkl");
        }
    }
    ~Archive() { zip_discard(zip_); }
    Archive(const Archive&) = delete;
    Archive& operator=(const Archive&) = delete;

    const std::string& file() const { return file_; }
    bool contains(const std::string& name) const { return zip_name_locate(zip_, (folder_ + name).c_str(), 0) >= 0; }

    /// A file of the archive, which must have so many bytes; -1: at most kMostPickleBytes.
    std::vector<std::byte> read(const std::string& name, std::int64_t expected) const {
        const std::string refusal = file_ + " is damaged: " + name;
        zip_stat_t stat;
        if (zip_stat(zip_, (folder_ + name).c_str(), 0, &stat) != 0) throw InputError(refusal + " is missing");
        if (!(stat.valid & ZIP_STAT_SIZE) ||
            (expected < 0 ? stat.size > kMostPickleBytes : stat.size != static_cast<std::uint64_t>(expected)))
            throw InputError(refusal + " has " + std::to_string(stat.size) + " bytes" +
                             (expected < 0 ? "" : ", expected " + std::to_string(expected)));
        // torch.save stores all as it is: so what is promised lies there, and no small file asks for much memory.
        if (stat.comp_method != ZIP_CM_STORE)
            throw InputError(refusal + " is compressed, which torch.save does not do");
        if (stat.size > std::filesystem::file_size(file_)) throw InputError(refusal + " is larger than the whole file");
        zip_file_t* const entry = zip_fopen(zip_, (folder_ + name).c_str(), 0);
        if (!entry) throw InputError(refusal + " cannot be opened");
        std::vector<std::byte> bytes(stat.size);
        std::size_t done = 0;
        zip_int64_t got = 1;
        while (done < bytes.size() && (got = zip_fread(entry, bytes.data() + done, bytes.size() - done)) > 0)
            done += static_cast<std::size_t>(got);
        // The checksum is compared where the end is read.
        std::byte beyond;
        const bool whole = done == bytes.size() && zip_fread(entry, &beyond, 1) == 0;
        zip_fclose(entry);
        if (!whole) throw InputError(refusal + " ends in the middle, or is not what its checksum says");
        return bytes;
    }

  private:
    std::string file_, folder_;
    zip_t* zip_ = nullptr;
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

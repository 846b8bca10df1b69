#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace iwseg {

/// One named array of a safetensors file, as it lies there.
struct StoredTensor {
    std::string type;                 ///< F32, F64, BF16, F16, I64, I32, U8, BOOL
    std::vector<std::int64_t> shape;  ///< outermost first
    std::vector<std::byte> bytes;

    std::int64_t elements() const;
    std::vector<float> as_f32() const;  ///< from F32, F64, BF16, F16, I64, I32, U8 or BOOL
    /// From any type, fractions cut off. Throws InputError that gives the value where it is beyond 32 bits, or NaN.
    std::vector<std::int32_t> as_i32() const;
};

/// Reads a whole safetensors file, as strictly as the format's own library does
/// (https://github.com/huggingface/safetensors). Throws InputError, naming the file and the tensor, where the header is
/// longer than 100 MB, not JSON or of wrong types, a name comes twice, a shape needs more or less than its bytes, or
/// the tensors overlap, leave a hole or do not end where the file does. A tensor need not be aligned.
std::map<std::string, StoredTensor> read_safetensors(const std::filesystem::path& file,
                                                     std::map<std::string, std::string>* metadata = nullptr);

/// The same as strictly, but of the header alone: types and shapes, no bytes. The arrays are not read.
std::map<std::string, StoredTensor> read_safetensors_header(const std::filesystem::path& file,
                                                            std::map<std::string, std::string>* metadata = nullptr);

/// Something to be written: the caller keeps the memory.
struct TensorToStore {
    std::string name;
    std::string type;
    std::vector<std::int64_t> shape;
    std::span<const std::byte> bytes;
};

/// Writes beside, syncs and renames: the name holds the whole file or what it held before. Throws
/// std::runtime_error, naming the file, on a full disk or a folder that cannot be written.
void write_safetensors(const std::filesystem::path& file, const std::vector<TensorToStore>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace iwseg

#include "nnunet/npz.h"

#include <fmt/format.h>

#include <span>
#include <string_view>

#include "base/atomic_file.h"
#include "import/zip_archive.h"

namespace iwseg::nnunet {
namespace {

/// NumPy's format 1.0: six letters, a version, the header's length in two bytes, the header up to a multiple of 64
/// bytes, the values.
std::string npy_header(const std::array<std::int64_t, 4>& shape) {
    constexpr std::size_t kAligned = 64, kBefore = 10;
    std::string text = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}, {}, {}), }}", shape[0],
                                   shape[1], shape[2], shape[3]);
    text += std::string(kAligned - (kBefore + text.size() + 1) % kAligned, ' ') + '\n';
    const auto bytes = static_cast<unsigned>(text.size());
    return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(bytes & 0xFF) + static_cast<char>(bytes >> 8) + text;
}

}  // namespace

void write_npz(const std::filesystem::path& file, const std::string& name, const std::array<std::int64_t, 4>& shape,
               const std::vector<float>& values) {
    const std::string header = npy_header(shape);
    const std::string_view elements(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    AtomicFile out(file);
    write_zip({{name + ".npy", {header, elements}, true}},
              [&](std::string_view bytes) { out.write(std::as_bytes(std::span(bytes))); });
    out.commit();
}

}  // namespace iwseg::nnunet

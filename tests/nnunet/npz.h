#pragma once

#include <zip.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

namespace iwseg {

/// One array of an .npz file, f32 in C order.
struct NumpyArray {
    std::vector<std::int64_t> shape;
    std::vector<float> values;
};

/// Throws std::runtime_error where the file has none of that name, or of another type or order.
inline NumpyArray read_npz(const std::filesystem::path& file, const std::string& name) {
    zip_t* const zip = zip_open(file.c_str(), ZIP_RDONLY, nullptr);
    if (!zip) throw std::runtime_error("cannot open " + file.string());
    zip_stat_t stat;
    const std::string entry = name + ".npy";
    if (zip_stat(zip, entry.c_str(), 0, &stat) != 0) throw std::runtime_error(file.string() + " has no " + entry);
    std::string bytes(stat.size, '\0');
    zip_file_t* const in = zip_fopen(zip, entry.c_str(), 0);
    if (zip_fread(in, bytes.data(), bytes.size()) != static_cast<zip_int64_t>(bytes.size()))
        throw std::runtime_error("cannot read " + entry);
    zip_fclose(in);
    zip_discard(zip);
    // Version 1: six letters, version, two bytes of the header's length, the header as a Python dictionary.
    const std::size_t length = static_cast<unsigned char>(bytes[8]) | static_cast<unsigned char>(bytes[9]) << 8;
    const std::string header = bytes.substr(10, length);
    if (bytes[6] != 1 || header.find("'descr': '<f4'") == std::string::npos ||
        header.find("'fortran_order': False") == std::string::npos)
        throw std::runtime_error(entry + " is not f32 in C order: " + header);
    NumpyArray array;
    std::size_t at = header.find("'shape': (") + 10, elements = 1;
    while (header[at] != ')') {
        array.shape.push_back(std::stoll(header.substr(at)));
        elements *= static_cast<std::size_t>(array.shape.back());
        at = header.find_first_of(",)", at);
        while (header[at] == ',' || header[at] == ' ') ++at;
    }
    array.values.resize(elements);
    if (bytes.size() != 10 + length + 4 * elements) throw std::runtime_error(entry + " has another size");
    std::memcpy(array.values.data(), bytes.data() + 10 + length, 4 * elements);
    return array;
}

}  // namespace iwseg

#pragma once

#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/volume/volume.h"

namespace iwseg {

/// A NIfTI file of 4 x 3 x 2 voxels made by hand, so that reading is not tested against our own writing: its fields are
/// set by their offsets in the standard's tables.
struct RawNifti {
    std::vector<std::int16_t> dim{3, 4, 3, 2, 1, 1, 1, 1};
    std::int16_t type = 16, bits = 32;
    float slope = 0, intercept = 0;
    bool swap = false;
    std::string voxels;

    template <class T>
    void put(std::string& bytes, std::size_t offset, T value) const {
        char raw[sizeof(T)];
        std::memcpy(raw, &value, sizeof(T));
        if (swap) std::reverse(raw, raw + sizeof(T));
        std::copy(raw, raw + sizeof(T), bytes.begin() + static_cast<std::ptrdiff_t>(offset));
    }

    std::string bytes() const {
        std::string header(352, '\0');
        put<std::int32_t>(header, 0, 348);
        for (std::size_t i = 0; i < 8; ++i) put(header, 40 + 2 * i, dim[i]);
        put(header, 70, type);
        put(header, 72, bits);
        for (std::size_t i = 0; i < 8; ++i) put(header, 76 + 4 * i, 1.0f);
        put(header, 108, 352.0f);
        put(header, 112, slope);
        put(header, 116, intercept);
        put<std::int16_t>(header, 254, 1);
        const float rows[12] = {2, 0, 0, -5, 0, 3, 0, 7, 0, 0.5f, 4, 11};
        for (std::size_t i = 0; i < 12; ++i) put(header, 280 + 4 * i, rows[i]);
        header.replace(344, 4, std::string("n+1\0", 4));
        return header + voxels;
    }

    /// The same as version 2.
    std::string bytes_of_version_2() const {
        std::string header(544, '\0');
        put<std::int32_t>(header, 0, 540);
        header.replace(4, 8, std::string("n+2\0\r\n\032\n", 8));
        put(header, 12, type);
        put(header, 14, bits);
        for (std::size_t i = 0; i < 8; ++i) put<std::int64_t>(header, 16 + 8 * i, dim[i]);
        for (std::size_t i = 0; i < 8; ++i) put(header, 104 + 8 * i, 1.0);
        put<std::int64_t>(header, 168, 544);
        put<double>(header, 176, slope);
        put<double>(header, 184, intercept);
        put<std::int32_t>(header, 348, 1);
        const double rows[12] = {2, 0, 0, -5, 0, 3, 0, 7, 0, 0.5, 4, 11};
        for (std::size_t i = 0; i < 12; ++i) put(header, 400 + 8 * i, rows[i]);
        return header + voxels;
    }

    template <class T>
    void append(T value) {
        std::string raw(sizeof(T), '\0');
        put(raw, 0, value);
        voxels += raw;
    }
};

/// Where a field lies in version 1, in bytes.
namespace nifti1 {
constexpr std::size_t kAxes = 40, kIntentCode = 68, kDatatype = 70, kPixdim = 76, kVoxOffset = 108, kSclSlope = 112,
                      kSclInter = 116, kXyztUnits = 123, kCalMax = 124, kCalMin = 128, kDescrip = 148, kQformCode = 252,
                      kSformCode = 254, kQuatern = 256, kQoffset = 268, kSrow = 280, kIntentName = 328;
}  // namespace nifti1
namespace nifti2 {
constexpr std::size_t kAxes = 16, kDatatype = 12, kPixdim = 104, kVoxOffset = 168, kSclSlope = 176, kSclInter = 184,
                      kQformCode = 344, kSformCode = 348, kXyztUnits = 500;
}  // namespace nifti2

template <class T>
void put(std::string& bytes, std::size_t offset, std::initializer_list<T> values) {
    for (const T value : values) {
        bytes.replace(offset, sizeof(T), std::string(reinterpret_cast<const char*>(&value), sizeof(T)));
        offset += sizeof(T);
    }
}

template <class T>
T field(const std::string& bytes, std::size_t offset) {
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof(T));
    return value;
}

/// A folder of NIfTI files, and a seed of its own.
class NiftiFiles : public testing::Test {
  protected:
    NiftiFiles() {
        folder_ = std::filesystem::temp_directory_path() / ("iwseg_volume_" + std::to_string(std::random_device{}()));
        std::filesystem::create_directories(folder_);
        std::cout << "seed " << seed_ << "\n";
    }
    ~NiftiFiles() override { std::filesystem::remove_all(folder_); }

    std::filesystem::path save(const std::string& name, const std::string& bytes) const {
        std::ofstream(folder_ / name, std::ios::binary) << bytes;
        return folder_ / name;
    }
    std::filesystem::path save_gz(const std::string& name, const std::string& bytes) const {
        gzFile file = gzopen((folder_ / name).c_str(), "wb");
        gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
        gzclose(file);
        return folder_ / name;
    }
    static std::string refusal(const std::filesystem::path& file) {
        try {
            read_image(file);
        } catch (const InputError& error) {
            const std::string message = error.what();
            EXPECT_NE(message.find(file.filename().string()), std::string::npos) << message;
            EXPECT_EQ(message.find('\n'), std::string::npos) << message;
            return message;
        }
        ADD_FAILURE() << file << " was read";
        return "";
    }
    /// The sentence with which the bytes are refused names the field.
    void expect_refused(const std::string& bytes, const std::string& field_name) const {
        EXPECT_NE(refusal(save("wrong.nii", bytes)).find(field_name), std::string::npos) << field_name;
    }

    static RawNifti small() {
        RawNifti raw;
        for (int v = 0; v < 24; ++v) raw.append(static_cast<float>(v));
        return raw;
    }

    std::filesystem::path folder_;
    unsigned seed_ = std::random_device{}();
    std::mt19937 random_{seed_};
};

}  // namespace iwseg

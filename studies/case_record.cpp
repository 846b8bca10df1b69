#include "studies/case_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "data/preparation.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr int kVersion = 1;  ///< of what preparation computes; cases of another are prepared anew

bool fits_int16(const std::vector<float>& values) {
    return std::all_of(values.begin(), values.end(), [](float value) {
        return value >= INT16_MIN && value <= INT16_MAX && value == std::trunc(value);
    });
}

void write_image(const fs::path& file, Volume<float> image) {
    if (!fits_int16(image.voxels)) return write_volume(file, image);
    Volume<std::int16_t> whole{image.geometry, std::vector<std::int16_t>(image.voxels.begin(), image.voxels.end())};
    image.voxels = {};  // a large scan's memory
    write_volume(file, whole);
}

}  // namespace

CaseRecord describe_case(const RawCase& scan, const StudyCase& prepared, std::string fingerprint) {
    const Geometry& geometry = prepared.target.geometry;
    CaseRecord record{scan.name,     scan.part,          std::move(fingerprint), prepared.raw_shape,
                      prepared.box,  geometry.spacing(), prepared.lesion_count,  {},
                      prepared.notes};
    const ComponentList lesions = list_components(prepared.target.voxels, geometry.shape, 26);
    for (std::int64_t lesion = 0; lesion < lesions.size(); ++lesion)
        record.component_voxels.push_back(lesions.offsets[lesion + 1] - lesions.offsets[lesion]);
    return record;
}

fs::path record_file(const fs::path& dataset, const std::string& name) {
    return dataset / "preparation" / (name + ".json");
}

ordered_json facts_of(const CaseRecord& record) {
    return {{"part", record.part},
            {"raw_shape", record.raw_shape},
            {"box_first", record.box.first},
            {"box_end", record.box.end},
            {"spacing_mm", record.spacing},
            {"lesion_count", record.lesion_count},
            {"component_voxels", record.component_voxels},
            {"notes", record.notes}};
}

void write_case_record(const fs::path& dataset, const CaseRecord& record) {
    ordered_json json{{"version", kVersion}, {"name", record.name}, {"fingerprint", record.fingerprint}};
    json.update(facts_of(record));
    write_text(record_file(dataset, record.name), json.dump(2) + "\n");
}

std::optional<CaseRecord> read_case_record(const fs::path& file) {
    if (!fs::exists(file)) return std::nullopt;
    const auto json = nlohmann::json::parse(read_text(file), nullptr, false);
    try {
        if (json.at("version") != kVersion) return std::nullopt;
        CaseRecord record;
        json.at("name").get_to(record.name);
        json.at("part").get_to(record.part);
        json.at("fingerprint").get_to(record.fingerprint);
        json.at("raw_shape").get_to(record.raw_shape);
        json.at("box_first").get_to(record.box.first);
        json.at("box_end").get_to(record.box.end);
        json.at("spacing_mm").get_to(record.spacing);
        json.at("lesion_count").get_to(record.lesion_count);
        json.at("component_voxels").get_to(record.component_voxels);
        json.at("notes").get_to(record.notes);
        return record;
    } catch (const nlohmann::json::exception&) {
        return std::nullopt;
    }
}

std::vector<CaseRecord> read_case_records(const fs::path& dataset) {
    std::vector<CaseRecord> records;
    if (!fs::is_directory(dataset / "preparation")) return records;
    for (const auto& entry : fs::directory_iterator(dataset / "preparation"))
        if (entry.path().extension() == ".json")
            if (auto record = read_case_record(entry.path())) records.push_back(std::move(*record));
    std::sort(records.begin(), records.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    return records;
}

std::vector<fs::path> case_files(const fs::path& dataset, const std::string& name, std::size_t channels) {
    std::vector<fs::path> files;
    for (std::size_t channel = 0; channel < channels; ++channel)
        files.push_back(dataset / "imagesTr" / fmt::format("{}_{:04}.nii.gz", name, channel));
    files.push_back(dataset / "labelsTr" / (name + ".nii.gz"));
    return files;
}

void write_case(const fs::path& dataset, StudyCase prepared, const CaseRecord& record) {
    // An older record must not vouch for what is half new.
    fs::remove(record_file(dataset, record.name));
    for (const char* folder : {"imagesTr", "labelsTr", "preparation"}) fs::create_directories(dataset / folder);
    const std::vector<fs::path> files = case_files(dataset, record.name, prepared.mask ? 2 : 1);
    write_image(files[0], std::move(prepared.image));
    if (prepared.mask) write_volume(files[1], *prepared.mask);
    write_volume(files.back(), prepared.target);
    write_case_record(dataset, record);
}

void remove_case(const fs::path& dataset, const std::string& name, std::size_t channels) {
    fs::remove(record_file(dataset, name));
    for (const fs::path& file : case_files(dataset, name, channels)) fs::remove(file);
}

}  // namespace iwseg

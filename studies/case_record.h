#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "studies/study.h"

namespace iwseg {

/// What is kept of a prepared case beside its volumes: enough for the dataset's own files, so that cases may be
/// prepared in several goes.
struct CaseRecord {
    std::string name;
    int part = 0;
    std::string fingerprint;                     ///< Study::fingerprint when it was prepared
    std::array<std::int64_t, 3> raw_shape{};     ///< voxels
    VoxelBox box;                                ///< what of the raw scan was kept
    std::array<double, 3> spacing{};             ///< mm
    std::int64_t lesion_count = 0;               ///< see StudyCase
    std::vector<std::int64_t> component_voxels;  ///< of the target's components (26-connectivity), in raster order
    std::vector<std::string> notes;

    bool operator==(const CaseRecord&) const = default;
};

/// What of it both its own file and the dataset's preparation.json say.
nlohmann::ordered_json facts_of(const CaseRecord& record);

CaseRecord describe_case(const RawCase& scan, const StudyCase& prepared, std::string fingerprint);

/// DATASET/preparation/CASE.json.
std::filesystem::path record_file(const std::filesystem::path& dataset, const std::string& name);
void write_case_record(const std::filesystem::path& dataset, const CaseRecord& record);
/// Nothing where there is none, or one that another version of the preparation wrote.
std::optional<CaseRecord> read_case_record(const std::filesystem::path& file);
/// Every record of a dataset, by name.
std::vector<CaseRecord> read_case_records(const std::filesystem::path& dataset);

/// The case's files in the dataset, images first, then the label.
std::vector<std::filesystem::path> case_files(const std::filesystem::path& dataset, const std::string& name,
                                              std::size_t channels);
/// Writes images, label and record, in this order, so that a case with a record is whole. Whole numbers that fit are
/// written as int16, other images as float. Throws InputError where a file cannot be written.
void write_case(const std::filesystem::path& dataset, StudyCase prepared, const CaseRecord& record);
/// Removes the record, then the other files.
void remove_case(const std::filesystem::path& dataset, const std::string& name, std::size_t channels);

}  // namespace iwseg

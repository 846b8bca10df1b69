#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace iwseg {

/// Memory that work on one scan takes at its peak, known from headers alone, in bytes.
struct MemoryNeed {
    std::string scan;
    std::array<std::int64_t, 3> shape{};  ///< voxels
    std::int64_t bytes = 0;               ///< beside what the program holds before the work
};

/// What prediction does with a scan. Formats written with gzip hold a volume twice while it is packed.
struct PredictionWork {
    std::string name{};
    std::vector<std::filesystem::path> files{};  ///< of each channel that is read, and of the mask
    std::int64_t channels = 1;                   ///< of the network
    std::int64_t lasting_bytes = 0;    ///< of the network, and of windows their planes: EnsemblePredictor::bytes
    bool logit = true, packed = true;  ///< written at all; written compressed
    bool summed = false;               ///< results of several networks are added up
};

/// What evaluation does with a scan.
struct EvaluationWork {
    std::string name{};
    std::filesystem::path label{};
    bool logits = true;     ///< there are some beside the probabilities
    bool labels = false;    ///< a map of labels says where a class is
    bool ignored = false;   ///< the dataset has the label ignore
    bool brats = false;     ///< the metric of that name is wanted
    bool surfaces = false;  ///< a metric is wanted that asks for distances between surfaces
};

/// The largest of reading, predicting and writing, which do not hold at once what they take, beside what lasts.
MemoryNeed prediction_need(const PredictionWork& scan);
/// For iwseg label: a mask, its labels, and their weights where they are wanted too.
MemoryNeed labelling_need(const std::filesystem::path& mask, bool weights);
/// For evaluating a prediction against its label: records, and of the metrics those that hold volumes of their own.
MemoryNeed evaluation_need(const EvaluationWork& work);

/// The memory that this process holds, in bytes: its resident set.
std::int64_t resident_bytes();

/// "memory   1.23 GB in all, 0.05 GB of them the program; most for A, 512 x 512 x 300 voxels", to be printed before the
/// work on all these scans, of which the largest counts. Throws InputError, naming scan and both numbers, where more is
/// needed than is free. work: "predicting".
std::string memory_sentence(const std::vector<MemoryNeed>& scans, const std::string& work);

}  // namespace iwseg

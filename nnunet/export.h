#pragma once

#include <cstdint>
#include <vector>

#include "kernels/device/declare.h"
#include "models/label_map.h"
#include "nnunet/plans.h"
#include "nnunet/preprocess.h"
#include "nnunet/resample.h"

namespace iwseg::nnunet {

/// Makes labels of logits that come plane by plane: resamples them to the scan's own grid, decides each voxel's label
/// and puts it where it lies in the file. Two planes of logits are held, whatever the scan's depth.
class LabelWriter {
  public:
    /// probabilities: those of each class are kept too, 4 bytes a class and voxel of the whole scan.
    LabelWriter(Stream host, const Placement& placement, const Plans& plans, const Labels& labels,
                bool probabilities = false);

    /// The next plane of logits, (K, H, W) of placement.resampled.
    void add(const float* logits);

    /// Labels of the whole scan in the order of a Volume's voxels, 0 outside of the crop.
    LabelMap& labels() { return labels_of_scan_; }
    /// (K, voxels of the scan), in the order of nnU-Net's arrays (Placement::array_sides); softmax of classes that
    /// exclude each other, of which outside of the crop the first is 1; sigmoid of regions, 0 there.
    std::vector<float>& probabilities() { return probabilities_; }

    /// What a writer holds, in bytes.
    static std::int64_t bytes(const Placement& placement, const Labels& labels, bool probabilities);

  private:
    void add_result(std::int64_t d);
    void decide(const float* logits, std::int64_t d);

    Stream host_;
    Placement placement_;
    Labels labels_;
    std::vector<ResampledAxis> axes_;
    std::int64_t added_ = 0, written_ = 0;  ///< planes of logits, and of results
    std::vector<float> previous_, current_, between_, result_;
    LabelMap labels_of_scan_;
    std::vector<float> probabilities_;
};

}  // namespace iwseg::nnunet

#pragma once

#include "studies/study.h"

namespace iwseg {

/// LiTS (Bilic et al. 2023), volume-N.nii and segmentation-N.nii, N = 0 … 130, as Shirokikh et al. (2020) prepare it:
/// cropped to the bounding box of label 1 (liver) and 5 voxels more, tumours are label 2. Cases are named by N.
class Lits : public Study {
  public:
    /// Finds the files, at any depth, each as .nii or .nii.gz; reads none. Throws InputError where the folder has no
    /// volume-N, or two files of the same name.
    explicit Lits(const std::filesystem::path& raw);

    std::string name() const override { return "LiTS"; }
    std::vector<std::string> channels() const override { return {"CT"}; }
    std::string lesion() const override { return "tumour"; }
    const std::vector<RawCase>& cases() const override { return cases_; }
    std::vector<std::string> notes() const override { return notes_; }
    std::int64_t bytes_needed(const RawCase& scan) const override;
    StudyCase prepare(const RawCase& scan) const override;
    /// "holdout": test 0 to 27, validation 28 to 32, training 33 to 130.
    std::map<std::string, Split> splits(const std::map<std::string, int>& parts) const override;

  private:
    std::vector<RawCase> cases_;
    std::vector<std::string> notes_;
};

}  // namespace iwseg

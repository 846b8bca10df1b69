#pragma once

#include <map>

#include "studies/luna16_annotations.h"
#include "studies/study.h"

namespace iwseg {

/// LUNA16 (Setio et al. 2017) with the contours of LIDC-IDRI, as Shirokikh et al. (2020) prepare it: cropped to the
/// lungs, with a mask of them, nodules drawn by at least half of the experts. Cases are named by their series UID.
///
/// Raw folder: subset0 … subset9 with UID.mhd and .raw, seg-lungs-LUNA16 with UID.mhd, annotations.csv and
/// tcia-lidc-xml with the readings; each may hold folders, and subsets may be missing.
class Luna16 : public Study {
  public:
    /// Lists the files, reads annotations.csv and the readings' UIDs, opens no scan. Throws InputError where one of the
    /// above is missing, a scan lies in two subsets, or the CSV is malformed.
    explicit Luna16(const std::filesystem::path& raw);

    std::string name() const override { return "LUNA16"; }
    std::vector<std::string> channels() const override { return {"CT", "lungs"}; }
    std::string lesion() const override { return "nodule"; }
    const std::vector<RawCase>& cases() const override { return cases_; }
    std::vector<std::string> notes() const override { return notes_; }
    std::int64_t bytes_needed(const RawCase& scan) const override;
    StudyCase prepare(const RawCase& scan) const override;
    std::string fingerprint(const RawCase& scan) const override;
    /// "holdout": test subsets 8 and 9, training 0 to 7 less five scans drawn for validation. "validation", by which
    /// the focal loss was tuned: test subsets 6 and 7, training 0 to 5 less five. The study drew from names in the
    /// order of its file system, which is not known; here they are sorted. Splits without a scan to train or to test on
    /// are left out.
    std::map<std::string, Split> splits(const std::map<std::string, int>& parts) const override;

  private:
    const std::vector<NoduleAnnotation>& annotations_of(const std::string& uid) const;

    std::vector<RawCase> cases_;
    std::vector<std::string> notes_;
    std::map<std::string, std::vector<NoduleAnnotation>> annotations_;
};

/// The lungs of a LUNA16 mask (D, H, W) and some tissue around: every label but 0 and the one with the fewest voxels
/// (the trachea; 0 is among those compared), dilated by 10 voxels, eroded by 10, dilated by 3, beyond the scan's faces
/// not eroded. Throws InputError, naming the file, where no lung is left.
std::vector<std::uint8_t> lung_mask(const Volume<std::int32_t>& labels, const std::filesystem::path& file);

}  // namespace iwseg

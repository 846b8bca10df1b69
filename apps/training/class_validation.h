#pragma once

#include <cstdint>
#include <vector>

#include "apps/training/validation_score.h"
#include "data/class_scheme.h"
#include "data/preparation.h"
#include "evaluation/records.h"
#include "losses/class_loss_program.h"
#include "models/class_predictor.h"

namespace iwseg {

/// What a pass over validation scans finds of each class.
class ClassSums {
  public:
    explicit ClassSums(const ClassScheme& classes) : classes_(classes), sums_(classes.classes().size()) {}

    /// One scan: its prediction with logits. Detections are components of voxels whose label the class or region holds,
    /// each scored by its largest probability.
    void add(const PreparedCase& scan, const ClassPrediction& prediction, Stream host);

    /// Each class by itself. Of those, lesions are summed; Dice and recall are the means, of recall of the classes that
    /// have a lesion.
    ValidationScore score() const;

  private:
    struct Sum {
        Records records;
        double dice = 0;
    };

    ClassScheme classes_;
    std::vector<Sum> sums_;
};

/// The training's loss of a whole scan, taken as one patch, after all warm-ups. logits: (K, D, H, W).
double class_loss_of(const PreparedCase& scan, const std::vector<float>& logits, const Loss& loss,
                     const ClassLossOptions& classes, Stream host);
/// Bytes that it and ClassSums::add take of a scan of so many voxels, beside the prediction.
std::int64_t class_validation_bytes(const Loss& loss, const ClassLossOptions& classes, const Extent& shape);

}  // namespace iwseg

#pragma once

#include <vector>

#include "apps/prediction/prediction_run.h"
#include "data/preparation.h"

namespace iwseg {

/// What of predict_cases is of networks of several classes or regions: writes CASE, the map of labels, and, where
/// probabilities are wanted, CLASS/CASE_prob of each class, and CLASS/CASE_logit likewise. reading: how scans are read
/// for the networks, which are alike. Throws as predict_cases does.
void predict_class_cases(Context& context, const std::vector<TrainedNetwork>& networks, const Dataset& dataset,
                         const std::vector<Case>& cases, const PredictionOptions& options,
                         const PreparationOptions& reading);

}  // namespace iwseg

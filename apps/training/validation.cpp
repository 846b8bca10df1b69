#include "apps/training/validation.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "apps/run_folder/trained_on.h"
#include "apps/terminal/interrupt.h"
#include "apps/terminal/progress.h"
#include "apps/training/class_validation.h"
#include "apps/training/training_run.h"
#include "data/channel_choice.h"
#include "data/preparation.h"
#include "evaluation/instances.h"
#include "evaluation/metrics.h"
#include "kernels/components/ignored.h"
#include "kernels/components/inverse_weights.h"
#include "kernels/device/backend.h"
#include "kernels/device/const_view.h"
#include "kernels/loss/loss.h"
#include "losses/loss_program.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

GridOptions grid_of(const Config& config) {
    return {config.predict.patch, config.predict.stride, config.precision == "bf16"};
}

std::vector<Case> labelled(const Dataset& dataset, const std::vector<std::string>& names) {
    std::vector<Case> cases;
    for (const std::string& name : names)
        if (const Case& scan = dataset.find(name); scan.label) cases.push_back(scan);
    return cases;
}

bool has_lesion(const fs::path& label, const LesionLabels& meaning) {
    const std::vector<std::uint8_t> lesion = meaning.mask_of(read_labels(label), label).lesion;
    return std::find(lesion.begin(), lesion.end(), 1) != lesion.end();
}

/// The training's loss of a whole scan, taken as one patch, after all warm-ups.
double loss_of(const PreparedCase& scan, const std::vector<float>& logit, const Loss& loss, WeightClip clip,
               Stream host) {
    const auto [d, h, w] = scan.geometry.shape;
    const Shape shape{1, 1, d, h, w};
    std::vector<std::int32_t> labels(logit.size());
    write_labels(scan.lesions, labels.data());
    if (!scan.ignored.empty())
        for (std::size_t v = 0; v < labels.size(); ++v)
            if (scan.ignored[v]) labels[v] = kIgnoredLabel;
    std::vector<std::uint8_t> target(labels.size());
    std::transform(labels.begin(), labels.end(), target.begin(), target_of_label);
    LossInput input{to_read({logit.data(), shape}), target.data()};
    std::vector<float> weights;
    if (loss.reads_labels()) {
        weights.resize(static_cast<std::size_t>(scan.lesions.size()) + 1);
        input.labels = labels.data();
        input.stride = static_cast<std::int64_t>(weights.size());
        cpu::inverse_weight_table(host, {labels.data(), shape, Type::i32}, weights.data(), input.stride, clip);
        input.weights = weights.data();
    }
    const LossProgram program(loss, cpu::backend(), shape, std::max<std::int64_t>(1, input.stride));
    std::vector<double> scratch(static_cast<std::size_t>(program.scratch_bytes()) / sizeof(double) + 1);
    double value = 0;
    program.value(host, input, scratch.data(), &value);
    return value;
}

}  // namespace

struct Validation::Sums {
    explicit Sums(const ClassScheme& classes) : of_classes(classes), several(classes.any()) {}

    ClassSums of_classes;
    bool several;
    Records records;
    double dice = 0, loss = 0;
    std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();

    ValidationScore score(std::int64_t step) const {
        if (several) {
            ValidationScore score = of_classes.score();
            score.step = step;
            score.loss = loss / static_cast<double>(score.scans);
            score.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
            return score;
        }
        const auto scans = static_cast<double>(records.size());
        ValidationScore score;
        score.step = step;
        score.scans = static_cast<std::int64_t>(records.size());
        score.dice = dice / scans;
        score.loss = loss / scans;
        score.set_recall(records);
        score.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        return score;
    }
};

Validation::Validation(Context& context, const Dataset& dataset, const Config& config, const ValidationOptions& options)
    : context_(context),
      dataset_(dataset),
      config_(config),
      loss_(options.loss),
      scheme_(class_scheme(config, dataset)),
      classes_(options.classes) {
    if (config.validate_share > 0) cases_ = labelled(dataset, options.split.validation);
    if (cases_.empty()) return;
    const LesionLabels meaning(dataset.label_names, scheme_.any() ? scheme_.values() : config.labels);
    const auto healthy = std::stable_partition(cases_.begin(), cases_.end(),
                                               [&](const Case& scan) { return has_lesion(*scan.label, meaning); });
    with_lesions_ = static_cast<std::size_t>(healthy - cases_.begin());
    if (scheme_.any()) {
        several_.emplace(context, options.network, windows_of(options.network, grid_of(config)), scheme_.output());
        weights_ = several_->parameters();
    } else {
        predictor_.emplace(context, weights_, options.network, grid_of(config));
    }
    const std::vector<std::string>& test = options.split.test;
    const std::int64_t padded = options.network.padded(config.predict.patch);
    std::vector<double> voxels;
    std::vector<std::int64_t> patches;
    for (const Case& scan : cases_) {
        on_test_scans_ |= std::find(test.begin(), test.end(), scan.name) != test.end();
        const Extent shape = read_geometry(scan.images.front()).shape;
        patches.push_back(patches_of(shape));
        patches_ += patches.back();
        voxels.push_back(static_cast<double>(patches.back()) * static_cast<double>(padded * padded * padded));
        bytes_ = std::max(bytes_, bytes_of(shape));
    }
    if (on_test_scans_)
        for (const std::string& name : test) test_scans_[name] = image_bytes(dataset.find(name));
    const std::int64_t every = config.validate_every > 0 ? config.validate_every : config.steps_per_epoch;
    const double patch = static_cast<double>(config.patch[0] * config.patch[1] * config.patch[2]);
    plan_ = plan_validation(voxels, {every, static_cast<double>(every) * config.batch * patch, config.validate_share},
                            with_lesions_);
    for (const std::size_t scan : plan_.scans) patches_of_pass_ += patches[scan];
}

void Validation::describe() const {
    if (!any()) return;
    fmt::print(
        "validate {} of {} scans every {} steps: {} patches, about {:.2g} % of the training's work;\n"
        "         all of them after the last step: {} patches; {}\n",
        plan_.scans.size(), cases_.size(), plan_.every, patches_of_pass_, 100 * plan_.share, patches_,
        bytes_text(bytes_));
    if (with_lesions_ == 0) fmt::print("         None of them has a lesion: no best weights are kept.\n");
    if (on_test_scans_)
        fmt::print(
            "         They are test scans too: the threshold of masks is chosen on scans that are tested on,\n"
            "         whose own masks are therefore made at 0.5.\n");
}

bool Validation::due(std::int64_t step) const {
    return any() && (step % plan_.every == 0 || step == config_.steps());
}

void Validation::use(Parameters& trained) {
    trained.download();
    for (int i = 0; i < weights_.size(); ++i) {
        const float* from = trained.value(trained.find(weights_[{i}].name));
        std::copy(from, from + weights_[{i}].elements, weights_.value({i}));
    }
    weights_.upload();
    if (several_) several_->use_weights();
}

std::int64_t Validation::patches_of(const Extent& shape) const {
    return several_ ? several_->patches(shape) : predictor_->patches(shape[0], shape[1], shape[2]);
}

std::int64_t Validation::bytes_of(const Extent& shape) const {
    const std::int64_t voxels = shape[0] * shape[1] * shape[2];
    if (several_)
        return several_->bytes(shape, true) + class_validation_bytes(loss_, *classes_, shape) +
               4 * static_cast<std::int64_t>(selected_channels(dataset_, preparation_options(config_)).size()) * voxels;
    // Beside the prediction: target and labels, of lesions and detections.
    return predictor_->bytes(shape[0], shape[1], shape[2]) + 16 * voxels;
}

void Validation::look_at(std::size_t index, std::int64_t step, Sums* sums, OperatingPointSearch* search) {
    const PreparedCase scan =
        prepare_case(dataset_, cases_[index], preparation_options(config_, dataset_), context_.threads());
    const auto [d, h, w] = scan.geometry.shape;
    const auto stop_where_asked = [&](std::int64_t, std::int64_t) {
        if (InterruptGuard::requested())
            throw Interrupted(
                fmt::format("interrupted while validating after step {} of {}; a checkpoint is saved and "
                            "--resume goes on",
                            step, config_.steps()));
    };
    if (several_) {
        if (!sums) return;  // labels are chosen by no rule
        const ClassPrediction prediction =
            several_->predict(scan.image.data(), scan.geometry.shape, true, stop_where_asked);
        sums->of_classes.add(scan, prediction, context_.host());
        sums->loss += class_loss_of(scan, prediction.logits, loss_, *classes_, context_.host());
        return;
    }
    const Prediction prediction = predictor_->predict(scan.image.data(), d, h, w, stop_where_asked);
    std::vector<std::uint8_t> target(prediction.logit.size());
    for (const std::uint32_t voxel : scan.lesions.voxels) target[voxel] = 1;
    const ScanToEvaluate evaluated{d,
                                   h,
                                   w,
                                   target.data(),
                                   prediction.probability.data(),
                                   prediction.logit.data(),
                                   scan.ignored.empty() ? nullptr : scan.ignored.data(),
                                   scan.geometry.spacing()};
    if (search) search->add(evaluated, scan.geometry.spacing(), context_.host());
    if (!sums) return;
    const Instances instances = find_instances(evaluated, DetectionRule{}.threshold, context_.host());
    sums->records[scan.name] = lesion_records(evaluated, instances);
    sums->dice += Overlap{instances.shared_voxels(), instances.lesion_voxels(), instances.detection_voxels()}.dice();
    sums->loss += loss_of(scan, prediction.logit, loss_, sampling_options(config_).weight_clip, context_.host());
}

ValidationScore Validation::score(Parameters& trained, std::int64_t step) {
    Sums sums(scheme_);
    use(trained);
    for (const std::size_t scan : plan_.scans) look_at(scan, step, &sums, nullptr);
    return sums.score(step);
}

MaskChoice Validation::choose(Parameters& trained, std::int64_t step, ValidationScore* score) {
    Sums sums(scheme_);
    OperatingPointSearch search;
    use(trained);
    Progress progress("validate", static_cast<std::int64_t>(cases_.size()), "scans");
    for (std::size_t scan = 0; scan < cases_.size(); ++scan) {
        const bool scored = score && std::find(plan_.scans.begin(), plan_.scans.end(), scan) != plan_.scans.end();
        look_at(scan, step, scored ? &sums : nullptr, &search);
        progress.update(static_cast<std::int64_t>(scan) + 1);
    }
    if (score) *score = sums.score(step);
    MaskChoice choice{search.best(), search.lesions()};
    if (choice.point) {
        choice.point->step = step;
        choice.point->on_test_scans = on_test_scans_;
        choice.point->test_scans = test_scans_;
    }
    return choice;
}

}  // namespace iwseg

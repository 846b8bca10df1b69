#include "apps/training/training_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "apps/bench/step_profile.h"
#include "apps/run_folder/checkpoint.h"
#include "apps/run_folder/run_sessions.h"
#include "apps/run_folder/staleness.h"
#include "apps/run_folder/trained_on.h"
#include "apps/terminal/interrupt.h"
#include "apps/terminal/progress.h"
#include "apps/training/dataset_notes.h"
#include "apps/training/tensorboard.h"
#include "apps/training/training_notes.h"
#include "apps/training/training_validation.h"
#include "apps/training/weight_check.h"
#include "apps/version.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "base/seconds_since.h"
#include "data/channel_choice.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "data/sampling.h"
#include "data/volume/geometry_range.h"
#include "engine/initialisation.h"
#include "engine/safetensors.h"
#include "kernels/device/backend.h"
#include "models/networks.h"
#include "training/resident_scans.h"
#include "training/session.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

/// Keys that shape neither the network, nor its steps, nor what is made of it.
bool may_change(const std::string& key) {
    return key == "epochs" || key == "checkpoint_every" || key == "workers" || key == "threads" ||
           key == "small_diameter";
}

OptimizerOptions optimizer_options(const Config& config) {
    OptimizerOptions options;
    const auto weight_decay = static_cast<float>(config.weight_decay);
    if (config.optimizer == "adamw")
        options.rule = AdamW{.beta1 = static_cast<float>(config.adam_betas[0]),
                             .beta2 = static_cast<float>(config.adam_betas[1]),
                             .weight_decay = weight_decay};
    else
        options.rule = Sgd{static_cast<float>(config.momentum), weight_decay, config.nesterov};
    options.batches = config.accumulate;
    options.clip_norm = static_cast<float>(config.clip_norm);
    options.average = static_cast<float>(config.weight_average);
    return options;
}

TrainingOptions training_options(const Config& config, const ClassScheme& classes, const PatchSampler& sampler) {
    const std::int64_t channels = sampler.cases()[0].channels;
    TrainingOptions options;
    options.cutting = sampler.cutting();
    options.network = make_network(config.network, static_cast<int>(channels), config.widths, classes.outputs());
    if (config.deep_supervision) options.network = options.network.with_heads();
    if (classes.any()) options.classes = {classes.channels(), config.connectivity, sampler.options().weight_clip};
    options.loss =
        loss_from_name(config.loss, {static_cast<float>(config.focal_alpha), static_cast<float>(config.focal_gamma),
                                     static_cast<float>(config.asl_beta), config.steps_per_epoch, config.connectivity});
    options.bf16 = config.precision == "bf16";
    options.input = {config.batch, channels, config.patch[0], config.patch[1], config.patch[2]};
    options.optimizer = optimizer_options(config);
    return options;
}

/// The last step of a training that has ended, none where it has not. Without checkpoints the model tells; one of an
/// earlier version, which does not, is taken to be of the last step. Throws InputError where the model is of an earlier
/// step and there is no checkpoint to go on from.
std::optional<std::int64_t> finished_step(const Config& config, const RunFolder& run) {
    if (!fs::exists(run.model())) return std::nullopt;
    std::int64_t step = newest_checkpoint_step(run.checkpoints());
    if (step > 0) return step >= config.steps() ? std::optional(step) : std::nullopt;
    Metadata metadata;
    read_safetensors_header(run.model(), &metadata);
    const auto known = metadata.find(kStepKey);
    step = known == metadata.end() ? config.steps() : std::strtoll(known->second.c_str(), nullptr, 10);
    if (step < config.steps())
        throw InputError(
            fmt::format("{} is of step {}, and {} holds no checkpoint to go on from to step {}: give another "
                        "--out, or as many epochs as before",
                        run.model().string(), step, run.checkpoints().string(), config.steps()));
    return step;
}

/// The run's own split where there is one: what is trained on must not change when it is resumed.
Split split_of_run(Dataset& dataset, const Config& config, const RunFolder& run) {
    std::optional<Split> chosen;
    if (config.split != Split{}) chosen = config.split;
    if (!config.split_name.empty() && !fs::exists(run.split())) chosen = named_split(dataset, config.split_name);
    if (fs::exists(run.split())) chosen = read_split(run.split());
    return make_split(dataset, chosen, config.seed, &dataset.notes, config.fold);
}

std::vector<PreparedCase> load_cases(const Dataset& dataset, const Split& split, const Config& config,
                                     const Context& context) {
    const PreparationOptions options = preparation_options(config, dataset);
    std::vector<PreparedCase> cases;
    {
        Progress progress("read", static_cast<std::int64_t>(split.train.size()), "cases");
        cases = prepare_training_cases(dataset, split.train, options, context.threads(),
                                       [&](std::int64_t done, std::int64_t) { progress.update(done); });
    }
    ReplacedVoxels replaced;
    for (const PreparedCase& scan : cases) replaced.add(scan);
    fmt::print("{}", replaced.line(options));
    return cases;
}

/// Where every scan of the split lies, from headers alone; of scans to test on, those that are there.
std::vector<Geometry> geometries_of(const Dataset& dataset, const Split& split) {
    std::vector<Geometry> geometries;
    for (const auto* part : {&split.train, &split.validation, &split.test})
        for (const std::string& name : *part) {
            const fs::path& file = dataset.find(name).images.front();
            if (part != &split.test || fs::exists(file)) geometries.push_back(read_geometry(file));
        }
    return geometries;
}

void print_start(const Context& context, const Dataset& dataset, const Split& split, const PatchSampler& sampler,
                 const Parameters& parameters, const TrainingSession& session) {
    std::int64_t lesions = 0;
    for (const PreparedCase& scan : sampler.cases()) lesions += scan.lesions.size();
    fmt::print("device   {}\n", context.description());
    fmt::print("data     {}: {} lesions in the scans to train on; scans to train on {}, to validate {}, to test {}\n",
               dataset.folder.string(), lesions, split.train.size(), split.validation.size(), split.test.size());
    fmt::print("network  {} parameters\n", count_text(parameters.learned_elements()));
    fmt::print("plan     {} in one arena\n", bytes_text(session.arena_bytes()));
    if (session.resident_bytes() > 0)
        fmt::print("scans    resident on the GPU, {}\n", bytes_text(session.resident_bytes()));
    else if (!context.backend().host_memory)
        fmt::print("scans    cut by the host: the GPU has no room for {} beside the plan\n",
                   bytes_text(ResidentScans::bytes_needed(sampler.cutting().scans)));
    if (const std::string note = large_patch_note(sampler.cases(), sampler.options().patch); !note.empty())
        fmt::print("warning  {}\n", note);
    std::fflush(stdout);
}

/// "terms": {"dice": 0.41, "ce": 0.12}, of a line of log.jsonl; nothing where there is one term.
std::string terms_text(const std::vector<TermValue>& terms) {
    std::string text;
    for (const TermValue& term : terms)
        text += fmt::format(R"({}"{}": {})", text.empty() ? "" : ", ", term.name, term.value);
    return text.empty() ? "" : fmt::format(R"("terms": {{{}}}, )", text);
}

/// What one training holds while it runs.
class TrainingLoop {
  public:
    TrainingLoop(const Config& config, const RunFolder& run, Parameters& parameters, TrainingSession& session,
                 const PatchSampler& sampler, Validation& validation, Metadata metadata, std::int64_t first_step,
                 int workers, int profile_steps)
        : config_(config),
          run_(run),
          parameters_(parameters),
          session_(session),
          sampler_(sampler),
          metadata_(std::move(metadata)),
          log_(run.log(), first_step),
          events_(run.root(), first_step + 1),
          validation_(validation, config, run, metadata_, log_, events_),
          profile_(profile_steps),
          first_(first_step),
          prepared_(first_step * config.accumulate),
          done_(first_step),
          saved_(first_step) {
        if (session.resident_bytes() == 0) loader_.emplace(sampler, static_cast<std::uint64_t>(prepared_), workers);
        if (session.optimizer().averages())
            for (const Parameter& p : parameters.list()) averages_.declare({p.name, p.shape, p.initial, p.learned});
    }

    void run() {
        const InterruptGuard guard("finishing step #, then saving");
        std::optional<Progress> progress(std::in_place, "train", config_.steps(), "steps", done_);
        prepare();
        // A training that was killed in a pass has the step's checkpoint and no line of the pass.
        if (done_ < config_.steps() && validation_.due(done_)) validation_.after(done_, trained());
        while (done_ < config_.steps()) {
            InterruptGuard::working_on(done_ + 1);
            const double loss = step();
            progress->update(done_, fmt::format("loss {:.4g}{}", loss, validation_.note()));
            const bool last = done_ == config_.steps(), looked_at = validation_.due(done_);
            if (last || looked_at || done_ % config_.steps_between_checkpoints() == 0) save();
            if (looked_at && !last) validation_.after(done_, trained());
            if (!last && InterruptGuard::requested()) {
                if (saved_ < done_) save();
                throw Interrupted(
                    fmt::format("interrupted after step {} of {}; a checkpoint is saved and --resume goes on", done_,
                                config_.steps()));
            }
        }
        progress.reset();  // the bar of the last validation has a row of its own
        require_usable_weights();
        Parameters& result = trained();
        result.save(run_.model(), validation_.finish(done_, result));
    }

  private:
    /// What the training has made of the weights so far: their moving average, where one is kept.
    Parameters& trained() {
        if (!session_.optimizer().averages()) return parameters_;
        session_.optimizer().copy_averages(averages_);
        return averages_;
    }

    /// Gives the session what the next run reads, while the one before is at work where the device works on its own.
    void prepare() {
        if (prepared_ == config_.steps() * config_.accumulate) return;
        const auto rate = static_cast<float>(config_.learning_rate_at(prepared_ / config_.accumulate));
        if (loader_) {
            const Batch& batch = loader_->next();
            session_.bind(batch, rate);
            next_content_ = {batch.lesion_voxels, batch.components};
        } else {
            const std::vector<PatchPlace> places = sampler_.places(static_cast<std::uint64_t>(prepared_));
            session_.bind(places, rate);
            next_content_ = sampler_.content(places);
        }
        ++prepared_;
    }

    double seconds_waited() const { return loader_ ? loader_->seconds_waited() : 0.0; }

    /// One batch of a step.
    StepOutcome compute_batch() {
        if (done_ == first_ || !profile_.wants_more()) {
            session_.start();
            prepare();
            return session_.finish();
        }
        StepTimes times;
        StepOutcome outcome = session_.run_timed(times);
        profile_.add(session_.plan(), times, seconds_waited());
        prepare();
        if (!profile_.wants_more() || done_ + 1 == config_.steps()) {
            const fs::path file = run_.root() / "profile.json";
            profile_.write(file);
            fmt::print("profile  {}, to be opened in chrome://tracing or ui.perfetto.dev\n", file.string());
        }
        return outcome;
    }

    /// A step's batches: the mean of their losses, the sums of the rest.
    StepOutcome compute(PatchContent& content) {
        StepOutcome sum;
        for (int batch = 0; batch < config_.accumulate; ++batch) {
            content.lesion_voxels += next_content_.lesion_voxels;
            content.components += next_content_.components;
            const StepOutcome one = compute_batch();
            sum.loss += one.loss;
            sum.seconds += one.seconds;
            if (sum.terms.empty())
                sum.terms = one.terms;
            else
                for (std::size_t i = 0; i < one.terms.size(); ++i) sum.terms[i].value += one.terms[i].value;
        }
        sum.loss /= config_.accumulate;
        for (TermValue& term : sum.terms) term.value /= config_.accumulate;
        return sum;
    }

    double step() {
        const double rate = config_.learning_rate_at(done_);
        PatchContent content;
        const Clock::time_point start = Clock::now();
        const auto [loss, seconds, terms] = compute(content);
        // Waiting for data costs only what it lasts longer than the device is at work.
        const double wait = std::clamp(seconds_since(start) - seconds, 0.0, seconds_waited());
        const std::int64_t epoch = done_ / config_.steps_per_epoch;
        ++done_;
        if (!std::isfinite(loss))
            throw std::runtime_error(
                fmt::format("the loss is not a number at step {}, with learning_rate {}: try a lower "
                            "one ({})",
                            done_, rate, kept_checkpoint()));
        log_.append(fmt::format(
            R"({{"step": {}, "epoch": {}, "loss": {}, {}"rate": {}, "seconds": {:.6f}, "wait": {:.6f}, )"
            R"("lesion_voxels": {}, "components": {}}})",
            done_, epoch, loss, terms_text(terms), rate, seconds, wait, content.lesion_voxels, content.components));
        std::vector<std::pair<std::string, float>> scalars{
            {"loss", static_cast<float>(loss)},
            {"learning_rate", static_cast<float>(rate)},
            {"time/step_seconds", static_cast<float>(seconds)},
            {"time/wait_seconds", static_cast<float>(wait)},
            {"batch/lesion_voxels", static_cast<float>(content.lesion_voxels)},
            {"batch/components", static_cast<float>(content.components)}};
        for (const TermValue& term : terms)
            scalars.emplace_back("loss_term/" + term.name, static_cast<float>(term.value));
        events_.add_scalars(done_, scalars);
        return loss;
    }

    std::string kept_checkpoint() const {
        return saved_ > 0 ? fmt::format("the checkpoint of step {} is kept", saved_) : "there is no checkpoint yet";
    }

    /// A loss tells what the step before made of the weights; only looking at them tells what the last one did.
    void require_usable_weights() {
        parameters_.download();
        if (const auto fault = unusable_weights(parameters_))
            throw std::runtime_error(
                fmt::format("{} after the update of step {}, with learning_rate {}: try a lower one ({})", *fault,
                            done_, config_.learning_rate_at(done_ - 1), kept_checkpoint()));
    }

    void save() {
        require_usable_weights();
        log_.sync();
        save_checkpoint(run_.checkpoints(), done_, parameters_, session_.optimizer(), metadata_);
        saved_ = done_;
    }

    const Config& config_;
    const RunFolder& run_;
    Parameters& parameters_;
    TrainingSession& session_;
    const PatchSampler& sampler_;
    Metadata metadata_;
    std::optional<BatchLoader> loader_;  ///< none where patches are cut on the device
    StepLog log_;
    EventWriter events_;
    TrainingValidation validation_;
    StepProfile profile_;
    Parameters averages_;        ///< of the weights, on the host; empty where none are kept
    PatchContent next_content_;  ///< of the batch that is prepared
    std::int64_t first_;         ///< step
    std::int64_t prepared_;      ///< batches
    std::int64_t done_, saved_;  ///< steps
};

}  // namespace

Config config_of_run(const RunFolder& run, const std::optional<fs::path>& file,
                     const std::vector<std::string>& settings, bool resume) {
    if (!fs::exists(run.config())) return resolve_config(file, settings);
    if (!resume)
        throw InputError("the folder " + run.root().string() +
                         " holds a run already: give --resume to go on with it, or another --out");
    const Config begun = resolve_config(run.config(), {});
    Config config = resolve_config(file, settings, begun);
    for (const std::string& key : differing_keys(begun, config))
        if (!may_change(key))
            throw InputError(
                fmt::format("the run in {} was begun with another {}: leave that key as it was, or give "
                            "another --out",
                            run.root().string(), key));
    return config;
}

Split read_split(const fs::path& file) {
    const auto json = nlohmann::json::parse(read_text(file), nullptr, false);
    Split split;
    try {
        json.at("train").get_to(split.train);
        json.at("validation").get_to(split.validation);
        json.at("test").get_to(split.test);
    } catch (const nlohmann::json::exception&) {
        throw InputError(file.string() +
                         " is not a split: lists of case names train, validation and test were expected");
    }
    return split;
}

bool train(Context& context, const Config& config, const fs::path& dataset_folder, const RunFolder& run,
           int profile_steps) {
    if (const auto step = finished_step(config, run)) {
        fmt::print("{} is trained already: {} steps\n", run.root().string(), *step);
        if (fs::exists(run.split()))
            check_training_inputs(run, open_dataset(dataset_folder), read_split(run.split()), false);
        return false;
    }
    Dataset dataset = open_dataset(dataset_folder);
    const Split split = split_of_run(dataset, config, run);
    const ClassScheme classes = class_scheme(config, dataset);
    print_notes(dataset, classes.any() ? classes.values() : config.labels);
    if (classes.any())
        fmt::print("{}  {}\n", classes.regions() ? "regions" : "classes", classes.sentence(dataset.label_names));
    fmt::print("{}", geometry_lines(geometries_of(dataset, split)));
    // Before the scans are read, so that later changes are noticed.
    check_training_inputs(run, dataset, split, newest_checkpoint_step(run.checkpoints()) == 0);
    const PatchSampler sampler(load_cases(dataset, split, config, context), sampling_options(config));
    Parameters parameters;
    TrainingOptions options = training_options(config, classes, sampler);
    Validation validation(context, dataset, config, {options.network, options.loss, split, options.classes});
    options.memory_for_others = validation.bytes();
    TrainingSession session(context, parameters, options);
    initialise(context, parameters, config.seed);
    print_start(context, dataset, split, sampler, parameters, session);
    validation.describe();

    const std::int64_t first_step = load_newest_checkpoint(run.checkpoints(), parameters, session.optimizer());
    write_text(run.config(), config_toml(config));
    write_text(
        run.split(),
        nlohmann::json{{"train", split.train}, {"validation", split.validation}, {"test", split.test}}.dump(2) + "\n");
    write_trained_on(run.trained_on(), dataset, split);
    if (first_step > 0) fmt::print("resumed  after step {} of {}\n", first_step, config.steps());
    std::fflush(stdout);
    const SessionRecord record(
        run.sessions(),
        {.device = context.description(), .first_step = first_step, .arena_bytes = session.arena_bytes()});
    const int workers = config.workers > 0 ? config.workers : std::clamp(context.threads() / 4, 1, 8);
    auto metadata = model_metadata(config, selected_names(dataset, preparation_options(config)), classes);
    TrainingLoop(config, run, parameters, session, sampler, validation, std::move(metadata), first_step, workers,
                 profile_steps)
        .run();
    fmt::print("trained  {}\n", run.model().string());
    return true;
}

}  // namespace iwseg

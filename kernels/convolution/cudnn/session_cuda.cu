#include "kernels/convolution/cudnn/session.h"

#include <algorithm>
#include <cstdio>
#include <sstream>

#include "base/error.h"
#include "kernels/convolution/cudnn/descriptor.cuh"
#include "kernels/convolution/cudnn/trial.h"
#include "kernels/convolution/own_engines.h"
#include "kernels/convolution/plan_choice.h"
#include "kernels/convolution/product.h"
#include "kernels/convolution/weights.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/matrix_product.h"
#include "kernels/elementwise/elementwise.h"

namespace iwseg::cuda {
namespace {

/// How many engines of a form are measured that are compiled at run time, a second each, in the heuristics' order.
constexpr std::size_t kMostCompiled = 2;
/// Numbers of a source that is not worth measuring.
constexpr std::int64_t kSmall = 1 << 19;

cudnnHandle_t open_handle() {
    cudnnHandle_t handle = nullptr;
    check(cudnnCreate(&handle), "making a handle");
    return handle;
}

CudnnTarget target_of(cudnnHandle_t handle) {
    int device = 0;
    check(cudaGetDevice(&device), "asking for the GPU");
    cudaDeviceProp card{};
    check(cudaGetDeviceProperties(&card, device), "reading the GPU's properties");
    return {handle, card.major * 10 + card.minor, card.name};
}

}  // namespace

std::shared_ptr<CudnnSession> CudnnSession::shared() {
    // Not an owner: the convolutions are.
    static std::weak_ptr<CudnnSession> living;
    std::shared_ptr<CudnnSession> session = living.lock();
    if (!session) living = session = std::make_shared<CudnnSession>();
    return session;
}

// Plans are declared after the handle they were made with, and go before it.
CudnnSession::CudnnSession() : handle_(open_handle()), target_(target_of(handle_.get())) {}
CudnnSession::~CudnnSession() = default;
void CudnnSession::Close::operator()(cudnnContext* handle) const {
    cudnnDestroy(handle);
}

void CudnnSession::leave_stream() const noexcept {
    cudnnSetStream(handle_.get(), nullptr);
}

std::string ChosenPlan::engine() const {
    return product ? product->text() : own == OwnEngine::none ? plan.engine.text() : name_of(own);
}

void CudnnSession::run(Stream stream, const ChosenPlan& chosen, const PassTensors& tensors) const {
    const CudnnProblem& problem = chosen.problem;
    if (chosen.product) return run_product(stream, chosen, tensors);
    if (chosen.own != OwnEngine::none) return run_own(stream, chosen, tensors);
    const View summand = tensors.summand.data ? tensors.summand : tensors.dst;
    if (problem.accumulate && summand.data != tensors.dst.data) copy(stream, summand, tensors.dst);
    try {
        std::vector<std::int64_t> ids{kSrc, kWeights, kDst};
        std::vector<void*> addresses{tensors.src.data, tensors.weights, tensors.dst.data};
        if (problem.bias) ids.push_back(kBias), addresses.push_back(tensors.packed_bias);
        if (problem.residual) ids.push_back(kResidual), addresses.push_back(summand.data);
        const CudnnDescriptor variant(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
        set(variant, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids);
        set(variant, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, addresses);
        set(variant, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, tensors.workspace);
        finalise(variant, "the list of tensors");
        check(cudnnSetStream(handle_.get(), static_cast<cudaStream_t>(stream.handle)), "setting the stream");
        check(cudnnBackendExecute(handle_.get(), chosen.plan.plan.get(), variant.get()), "running a plan");
    } catch (const CudnnError& error) {
        throw std::runtime_error("convolution " + problem.name() + ": " + error.what());
    }
    if (chosen.adds_bias) add_bias(stream, tensors.bias, tensors.dst);
}

// ----------------------------------------------------------------------------------------------------------------------

std::string CudnnSession::key(const CudnnProblem& problem) const {
    return target_.name() + ", cuDNN " + std::to_string(cudnnGetVersion()) + ", " + problem.name();
}

CudnnSession::Chosen CudnnSession::choose(const CudnnProblem& problem, const std::string& run_file) {
    const std::string name = problem.name(), name_in_run = run_file + "\n" + name;
    if (const auto found = chosen_.find(name_in_run); found != chosen_.end()) return found->second;
    const PlanFile run(run_file);
    const std::vector<CudnnProblem> forms = forms_of(problem);
    Chosen chosen = restore(run, forms, problem);
    const bool in_run = chosen != nullptr;
    if (const auto found = chosen_.find(name); !chosen && found != chosen_.end()) chosen = found->second;
    if (!chosen) chosen = restore(file_, forms, problem);
    if (!chosen) chosen = measure(forms, problem);
    if (chosen && !in_run && !run_file.empty()) keep(run, forms, problem, *chosen);
    chosen_[name] = chosen;
    return chosen_[name_in_run] = chosen;
}

/// From a line "form engine" of a file.
CudnnSession::Chosen CudnnSession::restore(const PlanFile& file, const std::vector<CudnnProblem>& forms,
                                           const CudnnProblem& wanted) const {
    const auto line = file.find(key(wanted));
    if (!line) return nullptr;
    std::istringstream in(*line);
    std::size_t form = 0;
    std::string text, why_not;
    if (!(in >> form >> text) || form >= forms.size()) return nullptr;
    for (ChosenPlan& own : own_plans(wanted, target_))
        if (text == own.engine()) return std::make_shared<ChosenPlan>(std::move(own));
    if (auto product = product_plan(wanted, text)) return std::make_shared<ChosenPlan>(std::move(*product));
    const auto engine = CudnnEngine::parse(text);
    if (!engine) return nullptr;
    auto plan = CudnnPlanSearch(target_, forms[form]).plan(*engine, why_not);
    if (!plan) return nullptr;
    return std::make_shared<ChosenPlan>(ChosenPlan{forms[form], wanted.bias && !forms[form].bias, std::move(*plan)});
}

std::vector<ChosenPlan> CudnnSession::plans(const CudnnProblem& wanted) const {
    std::vector<ChosenPlan> all;
    for (const CudnnProblem& form : forms_of(wanted)) {
        const CudnnPlanSearch search(target_, form);
        std::size_t compiled = 0;
        std::string why_not;
        for (const CudnnEngine& engine : search.engines()) {
            if (engine.compiled_at_run_time && compiled++ >= kMostCompiled) continue;
            if (auto plan = search.plan(engine, why_not))
                all.push_back({form, wanted.bias && !form.bias, std::move(*plan)});
        }
    }
    for (ChosenPlan& product : product_plans(wanted)) all.push_back(std::move(product));
    for (ChosenPlan& own : own_plans(wanted, target_)) all.push_back(std::move(own));
    return all;
}

CudnnSession::Chosen CudnnSession::measure(const std::vector<CudnnProblem>& forms, const CudnnProblem& wanted) {
    std::vector<ChosenPlan> all = plans(wanted);
    const bool offered = std::any_of(all.begin(), all.end(), [](const ChosenPlan& one) { return one.is_cudnns(); });
    bool dropped = false;  // plans that there is no memory for
    const auto say = [&] {
        std::fprintf(stderr, "iwseg: %s for convolution %s; an own kernel, a slow one, takes it\n",
                     dropped ? "there is no memory to try plans in" : "cuDNN has nothing", wanted.name().c_str());
    };
    while (!all.empty()) {
        std::int64_t workspace = 0;
        for (const ChosenPlan& one : all) workspace = std::max(workspace, one.plan.workspace_bytes);
        try {
            const Chosen chosen = fastest(all, wanted, workspace);
            if (!chosen) break;
            if (chosen->own == OwnEngine::general && (dropped || !offered)) say();
            if (measures(wanted) && !dropped) keep(file_, forms, wanted, *chosen);  // another start may have the memory
            return chosen;
        } catch (const InputError&) {
            // No plan is used that was never run. What wants less workspace may still be tried.
            std::erase_if(all, [&](const ChosenPlan& one) { return one.plan.workspace_bytes == workspace; });
            dropped = true;
        }
    }
    say();
    return nullptr;
}

bool CudnnSession::measures(const CudnnProblem& problem) {
    return problem.src.elements() >= kSmall;
}

/// Of all plans, tried in memory with so much workspace. Throws InputError where it is not there.
CudnnSession::Chosen CudnnSession::fastest(std::vector<ChosenPlan>& all, const CudnnProblem& wanted,
                                           std::int64_t workspace) {
    // Else the heuristics' order decides, which is the same each time.
    const bool measured = measures(wanted);
    CudnnTrial trial(*this, wanted, workspace);
    if (measured) announce();
    const auto best = fastest_right(
        all.size(),
        [&](std::size_t i) {
            const std::optional<double> seconds = trial.seconds(all[i]);
            return seconds && !measured ? static_cast<double>(i) : seconds;
        },
        [&](std::size_t i) { return trial.wrong(all[i]); },
        [&](std::size_t i, const std::string& what) {
            std::fprintf(stderr, "iwseg: %s engine %s is wrong for convolution %s (%s); it is not used\n",
                         all[i].owner(), all[i].engine().c_str(), all[i].problem.name().c_str(), what.c_str());
        });
    return best ? std::make_shared<ChosenPlan>(std::move(all[*best])) : nullptr;
}

void CudnnSession::announce() {
    if (std::exchange(announced_, true)) return;
    std::fprintf(stderr, "iwseg: measuring which of cuDNN's convolutions are fastest on %s; the next start knows\n",
                 target_.name().c_str());
}

void CudnnSession::keep(const PlanFile& file, const std::vector<CudnnProblem>& forms, const CudnnProblem& wanted,
                        const ChosenPlan& chosen) {
    const auto form = std::find_if(forms.begin(), forms.end(),
                                   [&](const CudnnProblem& one) { return one.name() == chosen.problem.name(); });
    const auto number = chosen.is_cudnns() ? form - forms.begin() : 0;
    if (file.store(key(wanted), std::to_string(number) + " " + chosen.engine())) return;
    if (std::exchange(complained_of_file_, true)) return;
    const std::string place = file.path().empty() ? "a file, as HOME is not set" : file.path();
    std::fprintf(stderr,
                 "iwseg: the choice cannot be kept in %s: convolutions are measured again at each start, and results "
                 "may differ in rounding from one start to the next\n",
                 place.c_str());
}

}  // namespace iwseg::cuda

#include "apps/preparation/preparation_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <new>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <thread>

#include "apps/run_folder/run_folder.h"
#include "apps/terminal/interrupt.h"
#include "apps/terminal/progress.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "base/nearest_name.h"
#include "data/dataset.h"
#include "kernels/cpu/thread_count.h"
#include "kernels/device/memory.h"
#include "studies/case_record.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

/// Lets work begin that fits beside what is in work; what never fits begins once it is alone.
class MemoryGate {
  public:
    explicit MemoryGate(std::int64_t limit) : limit_(limit) {}

    /// Waits for room and gives it back.
    class Pass {
      public:
        Pass(MemoryGate& gate, std::int64_t bytes) : gate_(gate), bytes_(bytes) {
            std::unique_lock lock(gate_.mutex_);
            gate_.room_.wait(lock, [this] { return gate_.used_ == 0 || bytes_ <= gate_.limit_ - gate_.used_; });
            gate_.used_ += bytes_;
        }
        ~Pass() {
            {
                const std::scoped_lock lock(gate_.mutex_);
                gate_.used_ -= bytes_;
            }
            gate_.room_.notify_all();
        }
        Pass(const Pass&) = delete;
        Pass& operator=(const Pass&) = delete;

      private:
        MemoryGate& gate_;
        std::int64_t bytes_;
    };

  private:
    std::int64_t limit_, used_ = 0;
    std::mutex mutex_;
    std::condition_variable room_;
};

/// Throws where the folder holds a dataset that this study's preparation did not make.
void require_own_folder(const fs::path& folder, const Study& study) {
    const fs::path description = description_file(folder);
    if (fs::exists(description)) {
        const auto json = nlohmann::json::parse(read_text(description), nullptr, false);
        if (!json.is_object() || json.value("study", nlohmann::json()) != study.name())
            throw InputError(fmt::format("{} holds another dataset: one of {} or a new folder was expected",
                                         folder.string(), study.name()));
    } else if (fs::exists(folder / "imagesTr") && !fs::exists(folder / "preparation")) {
        throw InputError(folder.string() +
                         " has a folder imagesTr that iwseg prepare did not make: give another --out");
    }
}

/// What a killed process left.
void remove_parts(const fs::path& dataset) {
    for (const char* name : {"imagesTr", "labelsTr", "preparation"}) {
        if (!fs::is_directory(dataset / name)) continue;
        for (const auto& entry : fs::directory_iterator(dataset / name))
            if (entry.path().extension() == ".part") fs::remove(entry.path());
    }
}

bool is_finished(const fs::path& dataset, const Study& study, const RawCase& scan) {
    const auto record = read_case_record(record_file(dataset, scan.name));
    if (!record || record->fingerprint != study.fingerprint(scan) || record->part != scan.part) return false;
    const std::vector<fs::path> files = case_files(dataset, scan.name, study.channels().size());
    return std::all_of(files.begin(), files.end(), [](const fs::path& file) { return fs::exists(file); });
}

/// Prepares cases on several threads.
class CaseWorkers {
  public:
    CaseWorkers(const Study& study, const PreparationRunOptions& options, std::vector<RawCase> pending,
                std::int64_t done_before)
        : study_(study),
          options_(options),
          pending_(std::move(pending)),
          gate_(options.memory > 0 ? options.memory : cpu::free_memory() / 2),
          done_(done_before),
          progress_("prepare", done_before + static_cast<std::int64_t>(pending_.size()), "scans", done_before) {}

    /// Returns the scans that could not be prepared, with the reason.
    std::map<std::string, std::string> run() {
        const InterruptGuard guard;
        const auto threads = static_cast<std::size_t>(count_threads(options_.threads).threads);
        std::vector<std::jthread> workers;
        for (std::size_t t = 0; t < std::min(threads, pending_.size()); ++t) workers.emplace_back([this] { work(); });
        workers.clear();  // joins
        if (error_) std::rethrow_exception(error_);
        if (interrupted_)
            throw Interrupted(fmt::format("interrupted with {} scans prepared; the same command goes on", done_));
        return left_out_;
    }

  private:
    void work() {
        for (std::size_t i = next_++; i < pending_.size(); i = next_++) {
            if (InterruptGuard::requested()) {
                interrupted_ = true;
                return;
            }
            try {
                prepare(pending_[i]);
            } catch (...) {
                const std::scoped_lock lock(mutex_);
                if (!error_) error_ = std::current_exception();
                next_ = pending_.size();
            }
        }
    }

    /// A scan that cannot be read is one scan's matter; a dataset that cannot be written is everybody's.
    void prepare(const RawCase& scan) {
        const std::string fingerprint = study_.fingerprint(scan);  // before reading: later changes are noticed
        std::string reason;
        const MemoryGate::Pass pass(gate_, bytes_needed(scan, reason));
        std::optional<StudyCase> prepared;
        if (reason.empty()) prepared = read(scan, reason);
        if (InterruptGuard::requested()) {
            interrupted_ = true;
            return;
        }
        if (prepared) {
            const CaseRecord record = describe_case(scan, *prepared, fingerprint);
            write_case(options_.out, std::move(*prepared), record);
        } else {
            remove_case(options_.out, scan.name, study_.channels().size());  // of raw files that have changed since
        }
        report(scan, reason);
    }

    std::int64_t bytes_needed(const RawCase& scan, std::string& reason) const {
        try {
            return study_.bytes_needed(scan);
        } catch (const InputError& error) {
            reason = error.what();
            return 0;
        }
    }

    std::optional<StudyCase> read(const RawCase& scan, std::string& reason) const {
        try {
            return study_.prepare(scan);
        } catch (const InputError& error) {
            reason = error.what();
        } catch (const std::bad_alloc&) {
            reason = scan.image.string() + " needs more memory than there is";
        }
        return std::nullopt;
    }

    void report(const RawCase& scan, const std::string& reason) {
        const std::scoped_lock lock(mutex_);
        if (!reason.empty()) left_out_[scan.name] = reason;
        progress_.update(++done_, left_out_.empty() ? "" : fmt::format("{} left out", left_out_.size()));
    }

    const Study& study_;
    const PreparationRunOptions& options_;
    std::vector<RawCase> pending_;
    MemoryGate gate_;
    std::atomic<std::size_t> next_ = 0;
    std::atomic<bool> interrupted_ = false;
    std::mutex mutex_;
    std::exception_ptr error_;
    std::map<std::string, std::string> left_out_;
    std::int64_t done_;
    Progress progress_;
};

}  // namespace

PreparationResult prepare_study(const Study& study, const PreparationRunOptions& options) {
    const RunFolder folder(options.out);  // one process writes a dataset
    require_own_folder(options.out, study);
    remove_parts(options.out);
    PreparationResult result;
    const std::set<std::string> excluded(options.excluded.begin(), options.excluded.end());
    for (const std::string& name : excluded) remove_case(options.out, name, study.channels().size());
    std::vector<RawCase> pending;
    std::int64_t done_before = 0;
    for (const RawCase& scan : study.cases()) {
        if (excluded.contains(scan.name))
            result.excluded.push_back(scan.name);
        else if (is_finished(options.out, study, scan))
            ++done_before;
        else
            pending.push_back(scan);
    }
    const std::size_t asked = pending.size();
    result.left_out = CaseWorkers(study, options, std::move(pending), done_before).run();
    result.cases = read_case_records(options.out);
    if (result.cases.empty())
        throw InputError(asked == 0 ? "--exclude leaves no scan to prepare"
                                    : fmt::format("none of {} scans could be prepared; the first: {}", asked,
                                                  result.left_out.begin()->second));
    write_dataset_files(options.out, study, result);
    return result;
}

std::vector<std::string> excluded_names(const Study& study, const std::vector<std::string>& items) {
    std::vector<std::string> known, names;
    for (const RawCase& scan : study.cases()) known.push_back(scan.name);
    for (const std::string& item : items) {
        if (std::find(known.begin(), known.end(), item) != known.end()) {
            names.push_back(item);
            continue;
        }
        if (!fs::is_regular_file(item)) {
            const std::string nearest = nearest_name(item, known);
            throw InputError(fmt::format("--exclude {}: neither a scan of the raw folder nor a file of names{}", item,
                                         nearest.empty() ? "" : fmt::format("; did you mean {}?", nearest)));
        }
        std::string text = read_text(item);
        // A JSON list of strings is names apart by white space once its marks are blanks.
        for (char& c : text)
            if (c == ',' || c == '[' || c == ']' || c == '"') c = ' ';
        std::istringstream words(text);
        for (std::string word; words >> word;) names.push_back(word);
    }
    return names;
}

}  // namespace iwseg

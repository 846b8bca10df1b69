#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/folder.h"
#include "data/dataset.h"
#include "data/phantom.h"
#include "kernels/cpu/thread_count.h"

namespace iwseg {
namespace {

void write_case(const PhantomOptions& options, std::int64_t number) {
    const PhantomScan scan = make_phantom(options.seed, number, options.size, options.kind);
    const std::string name = fmt::format("phantom_{:03}", number);
    write_volume(options.folder / "imagesTr" / (name + "_0000.nii.gz"), scan.image);
    write_volume(options.folder / "labelsTr" / (name + ".nii.gz"), scan.target);
}

}  // namespace

void write_phantom_dataset(const PhantomOptions& options, const CaseProgress& progress) {
    if (options.cases < 2)
        throw InputError(fmt::format("{} phantom cases make no dataset: at least 2 are needed", options.cases));
    if (options.size < 32 || options.size > 1024)
        throw InputError(fmt::format("a phantom cannot have {} voxels a side: 32 to 1024 are possible", options.size));
    const std::filesystem::path description = description_file(options.folder);
    if (std::filesystem::exists(description)) throw InputError(options.folder.string() + " already holds a dataset");
    make_folder(options.folder / "imagesTr");
    make_folder(options.folder / "labelsTr");

    std::atomic<std::int64_t> next = 0;
    std::int64_t done = 0;
    std::mutex mutex;
    std::exception_ptr error;
    const auto work = [&] {
        for (std::int64_t number = next++; number < options.cases; number = next++) {
            try {
                write_case(options, number);
                const std::scoped_lock lock(mutex);
                if (progress) progress(++done, options.cases);
            } catch (...) {
                const std::scoped_lock lock(mutex);
                if (!error) error = std::current_exception();
                next = options.cases;
            }
        }
    };
    const int threads = count_threads(options.threads).threads;
    std::vector<std::jthread> workers;
    for (int thread = 0; thread < threads; ++thread) workers.emplace_back(work);
    workers.clear();  // joins
    if (error) std::rethrow_exception(error);

    const nlohmann::ordered_json json{{"name", "phantom"},
                                      {"description", "CT-like phantom scans with lesions, made by iwseg phantom"},
                                      {"channel_names", {{"0", "CT"}}},
                                      {"labels", {{"background", 0}, {"lesion", 1}}},
                                      {"numTraining", options.cases},
                                      {"file_ending", ".nii.gz"},
                                      {"seed", options.seed},
                                      {"kind", name_of(options.kind)}};
    write_text(description, json.dump(2) + "\n");
}

}  // namespace iwseg

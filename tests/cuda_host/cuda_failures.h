#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/cuda_host/cuda_host.h"

namespace iwseg {

using Values = std::vector<float>;

/// Work of which calls of CUDA's runtime and of cuDNN fail, one at a time.
class CudaFailures : public CudaHost {
  protected:
    /// What the work throws; empty where it does not. One sentence, of an error that the program reports.
    template <class Work>
    static std::string failure_of(Work&& work) {
        try {
            work();
            return "";
        } catch (const std::runtime_error& error) {
            const std::string what = error.what();
            EXPECT_EQ(what.find('\n'), std::string::npos) << what;
            EXPECT_GT(what.size(), 20u) << what;
            return what;
        }
    }

    /// What makes calls alike, of which some are failed: the function, or also what is called before and after it. The
    /// latter is a place in the code, which in a loop fails alike each time.
    enum class Alike { by_function, by_place };

    /// The calls to be failed, from 1: of those that are alike at most so many, by chance.
    std::set<std::int64_t> chosen_calls(const std::vector<const char*>& calls, std::size_t most_of_each,
                                        Alike alike = Alike::by_function) {
        std::map<std::string, std::vector<std::int64_t>> groups;
        for (std::size_t i = 0; i < calls.size(); ++i) {
            std::string group = calls[i];
            if (alike == Alike::by_place)
                group =
                    fmt::format("{} {} {}", i > 0 ? calls[i - 1] : "", group, i + 1 < calls.size() ? calls[i + 1] : "");
            groups[group].push_back(static_cast<std::int64_t>(i) + 1);
        }
        std::set<std::int64_t> chosen;
        for (auto& [group, numbers] : groups) {
            std::shuffle(numbers.begin(), numbers.end(), random_);
            if (numbers.size() > most_of_each) numbers.resize(most_of_each);
            chosen.insert(numbers.begin(), numbers.end());
        }
        return chosen;
    }

    /// Work that returns what it computed, with each of the chosen calls failing once: see above. `allowed`: how far a
    /// result may lie off where a plan of cuDNN's was left out for the failure.
    void fail_in_turn(const std::function<Values()>& work, std::size_t most_of_each, standin::Failure failure,
                      float allowed, Alike alike = Alike::by_function) {
        standin::take_calls();
        const Values expected = work();
        const std::vector<const char*> calls = standin::take_calls();
        ASSERT_FALSE(calls.empty());
        int thrown = 0;
        for (const std::int64_t number : chosen_calls(calls, most_of_each, alike)) {
            SCOPED_TRACE(
                fmt::format("call {} of {}, {}", number, calls.size(), calls[static_cast<std::size_t>(number) - 1]));
            Values got;
            standin::fail_call(number, failure);
            const std::string what = failure_of([&] { got = work(); });
            standin::fail_call(0);
            thrown += !what.empty();
            if (what.empty()) {
                expect_close(got, expected, allowed);
            }
            EXPECT_EQ(standin::alive().text(), left_open_) << what;
            for (const std::string& problem : standin::take_problems()) ADD_FAILURE() << problem << " after: " << what;
            if (failure == standin::Failure::for_good) {
                standin::insert_card();
                continue;
            }
            EXPECT_EQ(failure_of([&] { got = work(); }), "");
            expect_close(got, expected, allowed);
            if (HasFailure()) return;
        }
        EXPECT_GT(thrown, 0);
    }

    static void expect_close(const Values& got, const Values& expected, float allowed) {
        ASSERT_EQ(got.size(), expected.size());
        float largest = 1e-30f, difference = 0;
        for (std::size_t i = 0; i < got.size(); ++i) {
            largest = std::max(largest, std::abs(expected[i]));
            difference = std::max(difference, std::abs(got[i] - expected[i]));
        }
        EXPECT_LE(difference, allowed * largest);
    }

    std::string left_open_ = "nothing";  ///< what the test itself has on the card
    std::uint64_t seed_ = std::random_device{}();
    std::mt19937_64 random_{seed_};
    testing::ScopedTrace trace_{__FILE__, __LINE__, "seed " + std::to_string(seed_)};
};

}  // namespace iwseg

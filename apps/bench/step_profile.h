#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/plan.h"

namespace iwseg {

/// Where the time of some training steps went, for chrome://tracing or Perfetto: one bar for each kernel call, the wait
/// for data, and the arena's bytes in use over time.
class StepProfile {
  public:
    explicit StepProfile(int steps) : wanted_(steps) {}

    bool wants_more() const { return taken_ < wanted_; }
    /// times: of the plan's steps (Plan::run_timed). wait: seconds before the step, for data.
    void add(const Plan& plan, const StepTimes& times, double wait);
    /// Chrome's trace format. Throws InputError where the file cannot be written.
    void write(const std::filesystem::path& file) const;

  private:
    void add_bar(const std::string& name, double seconds, const std::string& arguments);

    int wanted_, taken_ = 0;
    double now_ = 0;  ///< seconds since the first step's wait
    std::vector<std::string> events_;
};

}  // namespace iwseg

#include "apps/training/validation_plan.h"

#include <algorithm>
#include <cmath>

namespace iwseg {

ValidationPlan plan_validation(const std::vector<double>& voxels, const ValidationBudget& budget, std::size_t leading) {
    if (leading == 0) leading = voxels.size();
    constexpr double kStep = 3;
    const double work = kStep * budget.voxels_of_steps, allowed = budget.share * work;
    ValidationPlan plan;
    plan.every = budget.every;
    double sum = 0;
    for (std::size_t i = 0; i < voxels.size(); ++i)
        if (sum + voxels[i] <= allowed) {
            plan.scans.push_back(i);
            sum += voxels[i];
        }
    if (plan.scans.empty() || plan.scans.front() >= leading) {
        const auto cheapest = std::min_element(voxels.begin(), voxels.begin() + static_cast<std::ptrdiff_t>(leading));
        plan.scans = {static_cast<std::size_t>(cheapest - voxels.begin())};
        sum = *cheapest;
        plan.every = static_cast<std::int64_t>(std::min(std::ceil(sum / allowed), 1e9)) * budget.every;
    }
    const std::int64_t passes = plan.every / budget.every;  // a whole number: one is a multiple of the other
    plan.share = sum / (work * static_cast<double>(passes));
    return plan;
}

}  // namespace iwseg

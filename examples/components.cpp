// Connected components and inverse weights alone: links iwseg::components, which needs nothing but the C++ library.
#include <cstdio>
#include <exception>
#include <vector>

#include <iwseg/components.h>

int main() try {
    const iwseg::Extent shape{4, 4, 4};
    std::vector<std::uint8_t> mask(64);
    mask[0] = mask[1] = mask[63] = 1;  // a lesion of two voxels, and one of a single voxel

    const iwseg::Components found = iwseg::components_of(mask, shape, 26);
    const std::vector<float> weights = iwseg::inverse_weights_of(found.labels, shape);
    // 64 / (3 * 2), 64 / (3 * 1), and 64 / (3 * 61), which is clipped to 1
    std::printf("%d components, weights %.2f and %.2f, background %.2f\n", found.count, weights[0], weights[63],
                weights[30]);
} catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}

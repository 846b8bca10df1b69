#pragma once

#include <cstdint>
#include <filesystem>

#include "data/preparation.h"
#include "data/volume/volume.h"

namespace iwseg {

/// What makes lesions hard to see. even: large and small ones differ from tissue alike, and organs from each other as
/// much; the scans of docs/study.md. fading: the smaller a lesion the fainter, as by partial volume, in organs that
/// differ little; the demo's.
enum class PhantomKind : std::uint8_t { even, fading };
const char* name_of(PhantomKind kind);

struct PhantomOptions {
    std::filesystem::path folder;
    std::int64_t cases = 20;
    std::int64_t size = 96;  ///< voxels along i and j; k has three quarters of it
    std::uint64_t seed = 0xBadCafe;
    int threads = 0;  ///< 0: as many as the processor has
    PhantomKind kind = PhantomKind::even;
};

struct PhantomScan {
    Volume<std::int16_t> image;  ///< Hounsfield units
    Volume<std::uint8_t> target;
};

/// One CT-like scan: a body with organs and texture, noise, false friends (bright vessels in even, faint spots in
/// fading scans), and lesions whose volumes are log-normal over three decades. Depends on (seed, number, size, kind)
/// alone.
PhantomScan make_phantom(std::uint64_t seed, std::int64_t number, std::int64_t size,
                         PhantomKind kind = PhantomKind::even);

/// Writes a dataset in nnU-Net layout, dataset.json last. Throws InputError where the folder already holds a dataset,
/// a file cannot be written, cases < 2 or size < 32.
void write_phantom_dataset(const PhantomOptions& options, const CaseProgress& progress = {});

}  // namespace iwseg

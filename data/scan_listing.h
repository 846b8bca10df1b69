#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace iwseg {

/// What a network takes of a scan, and which scans are wanted.
struct ListingOptions {
    /// Ways in which a scan's channels may lie in its files: their names, by number. Of those of one length the first
    /// counts. None is empty.
    std::vector<std::vector<std::string>> layouts;
    std::vector<std::string> only;  ///< names of cases; empty: every one
};

struct ScanListing {
    std::vector<Case> cases;            ///< by name, without labels
    std::vector<std::string> channels;  ///< the layout that the files have
    std::vector<std::string> notes;     ///< sentences: what was passed over, what was taken by position
};

/// Scans of a folder of files in formats of data/volume/formats.h: CASE_0000.nii.gz, CASE_0001.nii.gz, … with one
/// channel each, or CASE.nii.gz with one channel, or all of them along its fourth axis. Four digits count as a
/// channel's number where some file of the folder ends in _0000. Hidden files, folders and files of no known format are
/// passed over and named. Throws InputError where no scan is found, a name is not UTF-8, two files are one channel of
/// one case (or would be but for upper and lower case), a case of `only` is not there, or wanted cases do not have the
/// channels of one and the same layout.
ScanListing list_scan_folder(const std::filesystem::path& folder, const ListingOptions& options);

/// The same of files named one by one, from any folders: cases by channel number where all of them are whole; else, as
/// many as a layout has channels are one scan's channels, in their order; else each is a scan of its own. Throws as
/// list_scan_folder.
ScanListing list_scan_files(const std::vector<std::filesystem::path>& files, const ListingOptions& options);

}  // namespace iwseg

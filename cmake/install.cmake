# Install rules come with the package file.

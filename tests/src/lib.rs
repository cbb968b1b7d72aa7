//! Nothing: the package is its tests, and the binaries that they need.

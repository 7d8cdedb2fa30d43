//! Nothing: this package is its tests, in `cases/`, which run inside a virtual machine.

//! A cluster of cores in one thread under a simulated clock and network; every run is its seed.

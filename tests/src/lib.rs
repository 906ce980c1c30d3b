//! End-to-end, compatibility and chaos tests on real processes.

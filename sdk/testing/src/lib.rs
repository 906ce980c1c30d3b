//! A cluster in a test: a real master in this process, with simulated agents, for a framework's own tests.

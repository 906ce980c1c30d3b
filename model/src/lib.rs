//! The vocabulary every room shares: resources, ids, roles, task states. Pure: no I/O, no clock, no async.

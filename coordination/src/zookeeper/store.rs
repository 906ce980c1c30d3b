//! The store below `<path>/tepui/<name>` in ZooKeeper.

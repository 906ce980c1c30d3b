//! Leader election, leader detection and the durable store: ZooKeeper or embedded, behind one trait each.

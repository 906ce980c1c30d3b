//! The wire: Mesos v1 and Tepui messages, the Mesos JSON mapping, RecordIO. No I/O.

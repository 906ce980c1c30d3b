//! tepui bench: simulated agents and load frameworks over the real protocols.

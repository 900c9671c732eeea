//! How arrays get through a network and back.

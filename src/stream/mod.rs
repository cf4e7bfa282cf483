//! One XML stream's talk.

pub mod sasl;

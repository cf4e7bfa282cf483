//! Bytes of one stream into stream events.

//! Values that another implementation made: Python's `hashlib` and `hmac`, by the formulas of RFC 5802 §3.

use crate::store::account::ScramHash;

/// Password `pencil`, salt `0123456789abcdef`, 4096 rounds: StoredKey and ServerKey.
pub const STORED: [(ScramHash, &str, &str); 3] = [
    (ScramHash::Sha1, "rPJ7iPSJer+bnDr9PCWJNRIA68M=", "rcHjOyVIe4jH3uaHsm83lApzxlo="),
    (ScramHash::Sha256, "nQpbZ77WudtqufPwikHXGRt6g2QJ4zns8bZLw273DRM=", "jn2amWP1q1h+jgjy0YTO14S6/F02SV7taipOeB7ef20="),
    (
        ScramHash::Sha512,
        "50q+37QH8XpaNkNxjgBGkxqXkoXVH2Lh3lHJ07g7AOGVlU4FcOi+wjKQc80Fl2VeSw/SniKUPcJigYjLk6Y/2w==",
        "fgiGfVDf7076b3mVdGf4ced4bUxY4L8AjpHsD8KRzbGOujkLSpj40lrcb9IvGqJ4Uv3dBiyDgUgoQnoVamua2Q==",
    ),
];

/// RFC 7677 §3 with SHA-512 in place of SHA-256: the proof, and the server's signature.
pub const SHA512_EXCHANGE: [&str; 2] = [
    "gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==",
    "ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw==",
];

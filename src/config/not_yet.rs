//! Elements that are understood and kept, and that this version does nothing with yet: one row each. A row goes when its
//! feature comes, and the man page's table is checked against this one.

/// Element and what happens instead.
pub const NOT_YET: &[(&str, &str)] = &[
    ("bounce", "web browsers that come to an XML port are not redirected yet"),
    ("dir", "stanza files are not read yet"),
    ("to", "log lines are not sent as messages yet"),
];

/// What happens instead of an element's own effect; `None` if it has its effect.
pub fn instead_of(name: &str) -> Option<&'static str> {
    NOT_YET.iter().find(|(own, _)| *own == name).map(|(_, text)| *text)
}

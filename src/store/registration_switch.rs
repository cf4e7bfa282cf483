//! Whether people may register from clients, where the admin said so while the server ran.

use super::{Error, Store, meta};

fn name(host: &str) -> String {
    format!("registration:{host}")
}

/// What was said of this host: open, closed, or nothing.
///
/// # Errors
/// When the database fails.
pub fn of(store: &Store, host: &str) -> Result<Option<bool>, Error> {
    let value = meta::value(store, &name(host))?;
    Ok(value.and_then(|value| match value.as_slice() {
        b"open" => Some(true),
        b"closed" => Some(false),
        _ => None,
    }))
}

/// Says it, or takes it back.
///
/// # Errors
/// When the database fails.
pub fn set(store: &mut Store, host: &str, is_open: Option<bool>) -> Result<(), Error> {
    let value: &[u8] = match is_open {
        Some(true) => b"open",
        Some(false) => b"closed",
        None => b"",
    };
    meta::set(store, &name(host), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_has_its_own() {
        let mut store = Store::in_memory().unwrap();
        assert_eq!(of(&store, "a.test").unwrap(), None);
        for (host, said) in [("a.test", Some(false)), ("b.test", Some(true)), ("a.test", Some(true)), ("b.test", None)]
        {
            set(&mut store, host, said).unwrap();
            assert_eq!(of(&store, host).unwrap(), said, "{host}");
        }
        assert_eq!(of(&store, "a.test").unwrap(), Some(true));
    }
}

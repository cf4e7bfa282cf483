//! Web browsers that come to an XML port: `<io><bounce>` sends them to a page, jabberd 1.4.4's way.

/// Is this the beginning of a request of HTTP? No stream begins so.
pub(super) fn is_request(bytes: &[u8]) -> bool {
    [&b"GET "[..], b"HEAD ", b"POST "].iter().any(|method| bytes.starts_with(method))
}

/// The answer that leads to a page; or, where the admin names none, that says where the browser is.
pub(super) fn answer(page: Option<&str>) -> Vec<u8> {
    let (status, location, text) = match page {
        Some(url) => ("301 Moved Permanently", format!("Location: {url}\r\n"), format!("Go to {url}\n")),
        None => ("400 Bad Request", String::new(), "This port speaks XMPP; a chat client can use it.\n".to_string()),
    };
    let length = text.len();
    format!(
        "HTTP/1.1 {status}\r\n{location}Content-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{text}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_told_from_clients() {
        for (bytes, expected) in [
            (&b"GET / HTTP/1.1\r\n"[..], true),
            (b"HEAD /x HTTP/1.0\r\n", true),
            (b"POST / HTTP/1.1\r\n", true),
            (b"<stream:stream", false),
            (b"<?xml version='1.0'?>", false),
            (b"GET", false),
            (b"GETTER", false),
            (b"", false),
            (b" ", false),
        ] {
            assert_eq!(is_request(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn the_answer_is_one_that_browsers_understand() {
        let moved = String::from_utf8(answer(Some("https://chat.example.org/"))).unwrap();
        assert!(
            moved.starts_with("HTTP/1.1 301 Moved Permanently\r\nLocation: https://chat.example.org/\r\n"),
            "{moved}"
        );
        let (head, body) = moved.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
        let refused = String::from_utf8(answer(None)).unwrap();
        assert!(refused.starts_with("HTTP/1.1 400 ") && !refused.contains("Location"), "{refused}");
    }
}

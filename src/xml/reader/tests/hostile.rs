//! Streams that mean harm or are broken, and the error each must get.

use super::*;

use Bound::{Attributes, Depth, Elements, FrameBytes, NameBytes};
use ReadError::{BadFormat, BadNamespacePrefix, NotWellFormed, PolicyViolation, RestrictedXml, UnsupportedEncoding};

/// What comes before any header.
const PROLOGS: &[(&[u8], ReadError)] = &[
    (b"GET / HTTP/1.1\r\n\r\n", NotWellFormed),
    (b"\x16\x03\x01\x02\x00\x01\x00", NotWellFormed),
    (b"hello", NotWellFormed),
    (b"   x", NotWellFormed),
    (b"\0", UnsupportedEncoding),
    (b"\xFE\xFF\0<\0s", UnsupportedEncoding),
    (b"\xFF\xFE<\0s\0", UnsupportedEncoding),
    (b"<\0s\0t\0", UnsupportedEncoding),
    (b"\0<\0s", UnsupportedEncoding),
    (b"\xFF\xFE\0\0<\0\0\0", UnsupportedEncoding),
    (b"\xEF\xBB\xBF\xEF\xBB\xBF<stream/>", NotWellFormed),
    (b"\xEF\xBB<stream/>", NotWellFormed),
    (b"</stream:stream>", NotWellFormed),
    (b"<!DOCTYPE s [<!ENTITY a 'b'>]>", RestrictedXml),
    (b"<!-- hi -->", RestrictedXml),
    (b"<!ENTITY a 'b'>", RestrictedXml),
    (b"<![CDATA[x]]>", NotWellFormed),
    (b"<?php exit(); ?>", RestrictedXml),
    (b"<?xml-stylesheet href='x'?>", RestrictedXml),
    (b"<?xml version='1.0'?><?xml version='1.0'?>", RestrictedXml),
    (b"<?xml version='1.0'?><!DOCTYPE x SYSTEM 'file:///etc/passwd'>", RestrictedXml),
    (b"<?xml version='1.0' encoding='UTF-16'?>", UnsupportedEncoding),
    (b"<?xml version='1.0' encoding='latin1'?>", UnsupportedEncoding),
    (b"<?xml version='1.1'?>", NotWellFormed),
    (b"<?xml version='1.0'>?>", NotWellFormed),
    (b"<?xml version='1.0'??>", NotWellFormed),
    (b"< stream>", NotWellFormed),
    (b"<>", NotWellFormed),
    (b"<1>", NotWellFormed),
    (b"<:stream>", NotWellFormed),
    (b"<stream:>", NotWellFormed),
    (b"<a:b:c>", NotWellFormed),
    (b"<stream:stream>", BadNamespacePrefix),
    (b"<stream xmlns='u' a:b='c'>", BadNamespacePrefix),
    (b"<stream to='a' to='b'>", NotWellFormed),
    (b"<stream xmlns='a' xmlns='b'>", NotWellFormed),
    (b"<stream to='&custom;'>", RestrictedXml),
    (b"<stream to='\xC0\xAF'>", UnsupportedEncoding),
    (b"<stream/ >", NotWellFormed),
];

/// What comes after a header.
const STREAMS: &[(&[u8], ReadError)] = &[
    // Between stanzas.
    (b"text", BadFormat),
    (b"<a/>\xC3\xA9", BadFormat),
    (b"&amp;", BadFormat),
    (b"<![CDATA[ ]]>", BadFormat),
    (b"\0", NotWellFormed),
    (b"\x0C", NotWellFormed),
    (b"<!-- -->", RestrictedXml),
    (b"<!DOCTYPE a>", RestrictedXml),
    (b"<?pi?>", RestrictedXml),
    (b"<?xml version='1.0'?>", RestrictedXml),
    (b"</stream>", NotWellFormed),
    (b"</stream:stream x='y'>", NotWellFormed),
    (b"</stream:streams>", NotWellFormed),
    (b"</ stream:stream>", NotWellFormed),
    (b"</>", NotWellFormed),
    (b"<!x>", NotWellFormed),
    // In stanzas: what RFC 6120 forbids.
    (b"<a><!-- --></a>", RestrictedXml),
    (b"<a><?pi?></a>", RestrictedXml),
    (b"<a><!DOCTYPE b></a>", RestrictedXml),
    (b"<a>&lol9;</a>", RestrictedXml),
    (b"<a>&nbsp;</a>", RestrictedXml),
    (b"<a b='&eacute;'/>", RestrictedXml),
    (b"<a>&LT;</a>", RestrictedXml),
    // Tags.
    (b"<a></b>", NotWellFormed),
    (b"<a><b></a></b>", NotWellFormed),
    (b"<a><b/><c></c></b></a>", NotWellFormed),
    (b"<stream:a></stream:stream>", NotWellFormed),
    (b"<a></a b='c'>", NotWellFormed),
    (b"<p:a xmlns:p='u' xmlns:q='u'></q:a>", NotWellFormed),
    (b"<a b></a>", NotWellFormed),
    (b"<a b=c></a>", NotWellFormed),
    (b"<a b='1'c='2'/>", NotWellFormed),
    (b"<a b='<'/>", NotWellFormed),
    (b"<a b='1' b='2'/>", NotWellFormed),
    (b"<a xml:lang='1' xml:lang='2'/>", NotWellFormed),
    (b"<a <b/>", NotWellFormed),
    (b"<a\x00/>", NotWellFormed),
    (b"<a\x0C/>", NotWellFormed),
    (b"<a/b>", NotWellFormed),
    (b"<a =''/>", NotWellFormed),
    (b"<a><></></a>", NotWellFormed),
    (b"<-a/>", NotWellFormed),
    (b"<\xC3\x97/>", NotWellFormed),
    (b"<a \xCC\x81b='c'/>", NotWellFormed),
    // Namespaces.
    (b"<p:a/>", BadNamespacePrefix),
    (b"<a p:b='c'/>", BadNamespacePrefix),
    (b"<a><p:b xmlns:p='u'/><p:b/></a>", BadNamespacePrefix),
    (b"<xml:a/>", BadNamespacePrefix),
    (b"<xmlns:a/>", BadNamespacePrefix),
    (b"<a xmlns:xmlns='u'/>", NotWellFormed),
    (b"<a xmlns:xml='u'/>", NotWellFormed),
    (b"<a xmlns:p='http://www.w3.org/XML/1998/namespace'/>", NotWellFormed),
    (b"<a xmlns:p='http://www.w3.org/2000/xmlns/'/>", NotWellFormed),
    (b"<a xmlns='http://www.w3.org/XML/1998/namespace'/>", NotWellFormed),
    (b"<a xmlns='http://www.w3.org/2000/xmlns/'/>", NotWellFormed),
    (b"<a xmlns:p=''/>", NotWellFormed),
    (b"<a xmlns:p='u' xmlns:p='v'/>", NotWellFormed),
    (b"<a xmlns='u' xmlns='u'/>", NotWellFormed),
    (b"<a xmlns:p='u' xmlns:q='u' p:b='1' q:b='2'/>", NotWellFormed),
    (b"<a:b:c xmlns:a='u'/>", NotWellFormed),
    (b"<a :b='c'/>", NotWellFormed),
    (b"<a b:='c'/>", NotWellFormed),
    (b"<p:1 xmlns:p='u'/>", NotWellFormed),
    (b"<p:\xC2\xB7 xmlns:p='u'/>", NotWellFormed),
    // Characters.
    (b"<a>\0</a>", NotWellFormed),
    (b"<a>\x1B</a>", NotWellFormed),
    (b"<a b='\x01'/>", NotWellFormed),
    (b"<a><![CDATA[\x02]]></a>", NotWellFormed),
    (b"<a>\xEF\xBF\xBE</a>", NotWellFormed),
    (b"<a b='\xEF\xBF\xBF'/>", NotWellFormed),
    (b"<a><![CDATA[\xEF\xBF\xBF]]></a>", NotWellFormed),
    (b"<a>&#0;</a>", NotWellFormed),
    (b"<a>&#x1F;</a>", NotWellFormed),
    (b"<a>&#xD800;</a>", NotWellFormed),
    (b"<a>&#xFFFE;</a>", NotWellFormed),
    (b"<a>&#x110000;</a>", NotWellFormed),
    (b"<a>&#99999999999999999999;</a>", NotWellFormed),
    (b"<a>&#;</a>", NotWellFormed),
    (b"<a>&#x;</a>", NotWellFormed),
    (b"<a>&#X41;</a>", NotWellFormed),
    (b"<a>&#+65;</a>", NotWellFormed),
    (b"<a>&;</a>", NotWellFormed),
    (b"<a>& </a>", NotWellFormed),
    (b"<a>&amp</a>", NotWellFormed),
    (b"<a b='&'/>", NotWellFormed),
    (b"<a>]]></a>", NotWellFormed),
    (b"<a><![cdata[x]]></a>", NotWellFormed),
    (b"<a><![INCLUDE[x]]></a>", NotWellFormed),
    // Bytes that are no UTF-8 (RFC 3629 §3): overlong, surrogates, too high, cut short.
    (b"<a>\xC0\x80</a>", UnsupportedEncoding),
    (b"<a>\xE0\x80\xAF</a>", UnsupportedEncoding),
    (b"<a>\xF0\x80\x80\xAF</a>", UnsupportedEncoding),
    (b"<a>\xED\xA0\x80</a>", UnsupportedEncoding),
    (b"<a>\xF4\x90\x80\x80</a>", UnsupportedEncoding),
    (b"<a>\xF5\x80\x80\x80</a>", UnsupportedEncoding),
    (b"<a>\x80</a>", UnsupportedEncoding),
    (b"<a>\xE2\x82</a>", UnsupportedEncoding),
    (b"<a b='\xFF'/>", UnsupportedEncoding),
    (b"<\xC0\x81/>", UnsupportedEncoding),
];

/// What comes after a header and is told with its last byte, not before and not when the stanza might end.
const AT_ONCE: &[(&[u8], ReadError)] = &[
    // XML 1.0 §3: end tags.
    (b"</stream:streax", NotWellFormed),
    (b"</stream:stream:", NotWellFormed),
    (b"<a></b", NotWellFormed),
    (b"<a></aa", NotWellFormed),
    (b"<aa></a>", NotWellFormed),
    (b"<aa></a ", NotWellFormed),
    (b"<a></ ", NotWellFormed),
    (b"<a></>", NotWellFormed),
    (b"<a></p", NotWellFormed),
    (b"<p:a></a", NotWellFormed),
    (b"<p:a></p:b", NotWellFormed),
    (b"<a\xC3\xA8></a\xC3\xA9", NotWellFormed),
    (b"<message><body>x</m", NotWellFormed),
    (b"<message><body></s", NotWellFormed),
    (b"<a><b c='d'>x</b><e/></b", NotWellFormed),
    // RFC 6120 §4.9.3.1: a second header.
    (b"<stream:stream>", BadFormat),
    (b"<stream:stream to='localhost' version='1.0' xmlns:stream='http://etherx.jabber.org/streams' >", BadFormat),
    (b"<a/><stream:stream/>", BadFormat),
    (b"<stream:stream to=l", NotWellFormed),
    // Characters.
    (b"<a>\0", NotWellFormed),
    (b"<a>x\x1B", NotWellFormed),
    (b"<a b='\x01", NotWellFormed),
    (b"<a><![CDATA[]\x02", NotWellFormed),
    (b"<a>\xEF\xBF\xBE", NotWellFormed),
    (b"<a>\xC3\xA9\xC0", UnsupportedEncoding),
    (b"<a b='\xE2\x82'", UnsupportedEncoding),
    (b"<a>\xED\xA0", UnsupportedEncoding),
    (b"<a \xFF", UnsupportedEncoding),
    // Tags and text.
    (b"<a b='<", NotWellFormed),
    (b"<a b=c", NotWellFormed),
    (b"<a b '", NotWellFormed),
    (b"<a b>", NotWellFormed),
    (b"<a b=''c", NotWellFormed),
    (b"<a/b", NotWellFormed),
    (b"<a><1", NotWellFormed),
    (b"<a>]]>", NotWellFormed),
    (b"<a>]]]>", NotWellFormed),
    (b"<a><![CDATA[x]]>]]>", NotWellFormed),
    (b"<a>& ", NotWellFormed),
    (b"<a>&nbsp;", RestrictedXml),
    (b"<a><!-", RestrictedXml),
    (b"<a><?", RestrictedXml),
];

/// Two faults in one stream: the first of them is told, however the bytes were split.
const TWO_FAULTS: &[(&[u8], ReadError)] = &[
    (b"<a>\x01\x80</a>", NotWellFormed),
    (b"<a>\x80\x01</a>", UnsupportedEncoding),
    (b"<a>\x80</b>", UnsupportedEncoding),
    (b"<a>\x01&nbsp;</a>", NotWellFormed),
    (b"<a>&nbsp;\x01</a>", RestrictedXml),
    (b"<p:a>\x01</p:a>", NotWellFormed),
    (b"<p:a>\x01</p:a>\x80", NotWellFormed),
    (b"<p:a></p:a><b>\x80", BadNamespacePrefix),
    (b"<p:a>\xC0</p:a>", UnsupportedEncoding),
    (b"<a b='' b=''>\x80</a>", UnsupportedEncoding),
    (b"<stream:stream a='\x80'>", UnsupportedEncoding),
    (b"<stream:stream>\x80", BadFormat),
];

#[test]
fn what_is_lost_is_told_at_once() {
    for (bytes, error) in AT_ONCE {
        let stream = [HEADER.as_bytes(), bytes].concat();
        for engine in ENGINES {
            let (before, _) = stream.split_at(stream.len() - 1);
            assert_eq!(read(engine, [before]).1, None, "{:?}", String::from_utf8_lossy(before));
            assert_eq!(read(engine, [stream.as_slice()]).1, Some(*error), "{:?}", String::from_utf8_lossy(bytes));
            assert_splits_agree(&stream, engine);
        }
    }
}

#[test]
fn the_first_fault_is_told() {
    for (bytes, error) in TWO_FAULTS {
        let stream = [HEADER.as_bytes(), bytes].concat();
        for engine in ENGINES {
            assert_eq!(read(engine, [stream.as_slice()]).1, Some(*error), "{:?}", String::from_utf8_lossy(bytes));
            assert_splits_agree(&stream, engine);
        }
    }
}

#[test]
fn each_hostile_stream_gets_its_error_however_split() {
    let after_header = STREAMS.iter().map(|(bytes, error)| ([HEADER.as_bytes(), bytes].concat(), error));
    let rows = PROLOGS.iter().map(|(bytes, error)| (bytes.to_vec(), error)).chain(after_header);
    for (bytes, error) in rows {
        for engine in ENGINES {
            let (_, found) = read(engine, [bytes.as_slice()]);
            assert_eq!(found, Some(*error), "{:?} by {engine:?}", String::from_utf8_lossy(&bytes));
        }
        assert_splits_agree(&bytes, Engine::Own);
    }
}

#[test]
fn what_is_endless_meets_a_bound_first() {
    let nested = "<a>".repeat(1 << 16);
    let siblings = format!("<a>{}", "<b/>".repeat(1 << 16));
    let attributes = format!("<a{}", " b='c'".repeat(1 << 16));
    let long_name = format!("<{}", "n".repeat(1 << 20));
    let long_attribute = format!("<a {}", "n".repeat(1 << 20));
    let open_quote = format!("<a b='{}", "x".repeat(1 << 20));
    let open_section = format!("<a><![CDATA[{}", "]".repeat(1 << 20));
    let text = format!("<a>{}", "x".repeat(1 << 20));
    let inner_space = format!("<a{}", " ".repeat(1 << 20));
    let closing_space = format!("</stream:stream{}", " ".repeat(1 << 20));
    let digits = format!("<a>&#{}", "0".repeat(1 << 20));
    let references = format!("<a>{}", "&amp;".repeat(1 << 16));
    for (rest, bound) in [
        (&nested, Depth),
        (&siblings, Elements),
        (&attributes, Attributes),
        (&long_name, NameBytes),
        (&long_attribute, NameBytes),
        (&open_quote, FrameBytes),
        (&open_section, FrameBytes),
        (&text, FrameBytes),
        (&inner_space, FrameBytes),
        (&closing_space, FrameBytes),
        (&digits, FrameBytes),
        (&references, FrameBytes),
    ] {
        let stream = format!("{HEADER}{rest}");
        for size in [1, 1000, stream.len()] {
            let (events, error) = read(Engine::Own, stream.as_bytes().chunks(size));
            assert_eq!((events.len(), error), (1, Some(PolicyViolation(bound))), "{rest:.20}");
        }
    }
    // The header is held to the same bounds.
    for (prolog, bound) in [
        (format!("<?xml version='1.0'{}", " ".repeat(1 << 20)), FrameBytes),
        (format!("<stream to='{}", "x".repeat(1 << 20)), FrameBytes),
        (format!("<stream{}", " b='c'".repeat(1 << 16)), Attributes),
        (format!("<{}", "n".repeat(1 << 20)), NameBytes),
    ] {
        assert_eq!(read(Engine::Own, [prolog.as_bytes()]).1, Some(PolicyViolation(bound)));
    }
}

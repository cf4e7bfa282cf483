//! What a user directory knows of a person (XEP-0055), and the words by which it is found.

use std::collections::BTreeSet;

use super::ns;
use crate::xml::Element;

/// A name longer than this is none; what is behind it is left out.
const FIELD_CHARS_MAX: usize = 200;
/// More words are not in a name or an address.
const WORDS_MAX: usize = 16;

/// The fields of XEP-0055 §3, all of which may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Given name.
    pub first: String,
    /// Family name.
    pub last: String,
    /// Nickname.
    pub nick: String,
    /// Email address.
    pub email: String,
}

/// A field, by its name in XEP-0055.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Given name.
    First,
    /// Family name.
    Last,
    /// Nickname.
    Nick,
    /// Email address.
    Email,
}

impl Field {
    /// All in the order of the form.
    pub const ALL: [Field; 4] = [Field::First, Field::Last, Field::Nick, Field::Email];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Field::First => "first",
            Field::Last => "last",
            Field::Nick => "nick",
            Field::Email => "email",
        }
    }

    /// XEP-0055 §5.2: how people read it.
    pub fn label(self) -> &'static str {
        match self {
            Field::First => "Given Name",
            Field::Last => "Family Name",
            Field::Nick => "Nickname",
            Field::Email => "Email Address",
        }
    }
}

impl Entry {
    /// What a vCard (XEP-0054) says. Most clients ask for a full name only; it then stands in the first field.
    pub fn of_card(card: &Element) -> Entry {
        let within = |outer: &str, inner: &str| {
            let outer = card.child(outer, ns::VCARD)?;
            Some(outer.child(inner, ns::VCARD)?.text().into_owned())
        };
        let alone = |name: &str| card.child(name, ns::VCARD).map(|child| child.text().into_owned());
        let mut entry = Entry {
            first: within("N", "GIVEN").unwrap_or_default(),
            last: within("N", "FAMILY").unwrap_or_default(),
            nick: alone("NICKNAME").unwrap_or_default(),
            // Compat: the first clients wrote the address into EMAIL itself.
            email: within("EMAIL", "USERID").or_else(|| alone("EMAIL")).unwrap_or_default(),
        };
        if entry.first.trim().is_empty() && entry.last.trim().is_empty() {
            entry.first = alone("FN").unwrap_or_default();
        }
        entry.cut()
    }

    /// An entry made of values by field.
    pub fn new(value: impl Fn(Field) -> String) -> Entry {
        Entry {
            first: value(Field::First),
            last: value(Field::Last),
            nick: value(Field::Nick),
            email: value(Field::Email),
        }
        .cut()
    }

    /// One of the fields.
    pub fn field(&self, field: Field) -> &str {
        match field {
            Field::First => &self.first,
            Field::Last => &self.last,
            Field::Nick => &self.nick,
            Field::Email => &self.email,
        }
    }

    /// Is there nothing to find?
    pub fn is_empty(&self) -> bool {
        Field::ALL.iter().all(|field| self.field(*field).is_empty())
    }

    fn cut(self) -> Entry {
        let cut = |text: String| text.trim().chars().take(FIELD_CHARS_MAX).collect();
        Entry { first: cut(self.first), last: cut(self.last), nick: cut(self.nick), email: cut(self.email) }
    }

    /// The words by which it is found. Who has one name for everything is found by its words in either field.
    pub fn words(&self) -> Vec<(Field, String)> {
        let of = |field: Field, text: &str| words(text).into_iter().map(move |word| (field, word)).collect::<Vec<_>>();
        let last = if self.last.is_empty() { &self.first } else { &self.last };
        let fields = [(Field::First, &self.first), (Field::Last, last), (Field::Nick, &self.nick)];
        fields.into_iter().chain([(Field::Email, &self.email)]).flat_map(|(field, text)| of(field, text)).collect()
    }
}

/// The words of a text, each once, folded as the names of accounts are: two texts that people read as one are one.
pub fn words(text: &str) -> BTreeSet<String> {
    let parts = text.split(|c: char| c.is_whitespace() || c.is_control() || c.is_ascii_punctuation());
    let folded = parts.filter(|part| !part.is_empty()).take(WORDS_MAX).map(|part| {
        // What stringprep does not take, it may still have in small letters.
        stringprep::nodeprep(part).map_or_else(|_| part.to_lowercase(), |folded| folded.into_owned())
    });
    folded.filter(|word| !word.is_empty()).collect()
}

/// What is looked for in one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Words that begin like each of these; at least one.
    Words(BTreeSet<String>),
    /// Anything: the field was filled with a `*`.
    Anything,
}

impl Wanted {
    /// What the text in a field of the form asks for; `None` if it asks for nothing.
    ///
    /// Compat: people are used to a `*` behind the beginning of a word; that is what is looked for anyhow.
    pub fn parse(text: &str) -> Option<Wanted> {
        let words = words(text);
        match words.is_empty() {
            false => Some(Wanted::Words(words)),
            true => text.contains('*').then_some(Wanted::Anything),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml;

    fn card(inside: &str) -> Entry {
        Entry::of_card(&xml::parse(&format!("<vCard xmlns='vcard-temp'>{inside}</vCard>")).unwrap())
    }

    #[test]
    fn a_card_becomes_an_entry() {
        let whole = card(
            "<FN>R. M.</FN><N><FAMILY>Montague</FAMILY><GIVEN> Romeo </GIVEN></N><NICKNAME>ro</NICKNAME>\
             <EMAIL><HOME/><USERID>romeo@montague.net</USERID></EMAIL>",
        );
        assert_eq!(
            Field::ALL.map(|field| whole.field(field).to_owned()),
            ["Romeo", "Montague", "ro", "romeo@montague.net"]
        );
        assert_eq!(card("<FN>Romeo Montague</FN><N/>").first, "Romeo Montague");
        assert_eq!(card("<EMAIL>r@m.net</EMAIL>").email, "r@m.net");
        assert_eq!(card(&format!("<FN>{}</FN>", "ö".repeat(500))).first.chars().count(), FIELD_CHARS_MAX);
        assert!(card("<PHOTO><BINVAL>AAAA</BINVAL></PHOTO>").is_empty());
        assert!(card("<FN> </FN>").is_empty());
    }

    #[test]
    fn words_are_folded() {
        for (text, expected) in [
            ("Romeo  MONTAGUE", vec!["montague", "romeo"]),
            ("romeo@montague.net", vec!["montague", "net", "romeo"]),
            // Composed, decomposed, and a letter that folds into two.
            ("B\u{DC}CHER bu\u{308}cher Stra\u{DF}e", vec!["b\u{FC}cher", "strasse"]),
            ("\u{415}\u{41B}\u{415}\u{41D}\u{410}", vec!["\u{435}\u{43B}\u{435}\u{43D}\u{430}"]),
            ("\u{5B54}\u{4E18}", vec!["\u{5B54}\u{4E18}"]),
            (" . ,\t*\u{0} ", vec![]),
        ] {
            assert_eq!(words(text).into_iter().collect::<Vec<_>>(), expected, "{text}");
        }
        assert_eq!(words(&"a b c d e f g h i j k l m n o p q r".repeat(9)).len(), WORDS_MAX);
    }

    #[test]
    fn a_name_in_one_piece_is_found_in_either_field() {
        let of =
            |entry: &Entry| entry.words().into_iter().map(|(f, w)| format!("{}={w}", f.name())).collect::<Vec<_>>();
        let entry = Entry { first: "Romeo Montague".to_owned(), ..Entry::default() };
        assert_eq!(of(&entry), ["first=montague", "first=romeo", "last=montague", "last=romeo"]);
        let entry = Entry { first: "Romeo".to_owned(), last: "Montague".to_owned(), ..Entry::default() };
        assert_eq!(of(&entry), ["first=romeo", "last=montague"]);
    }

    #[test]
    fn a_star_asks_for_anything_only_where_it_is_alone() {
        let some = |words: &[&str]| Some(Wanted::Words(words.iter().map(|word| (*word).to_owned()).collect()));
        for (text, wanted) in [
            ("", None),
            ("  ", None),
            ("-", None),
            ("*", Some(Wanted::Anything)),
            ("Ro*", some(&["ro"])),
            ("*meo", some(&["meo"])),
            ("ro mon", some(&["ro", "mon"])),
        ] {
            assert_eq!(Wanted::parse(text), wanted, "{text:?}");
        }
    }
}

use super::*;

fn party() -> Form {
    Form::ask("urn:example:party")
        .titled("A party")
        .instructed("Who comes?")
        .with(Field::new(FieldType::JidMulti, "guests").labelled("Guests").required())
        .with(Field::new(FieldType::TextSingle, "place").valued("the garden"))
        .with(Field::new(FieldType::TextPrivate, "word").described("It is asked for at the gate."))
        .with(Field::boolean("masked", true))
        .with(Field::new(FieldType::ListSingle, "hour").offering("at nine", "21").offering("", "22"))
        .with(Field::new(FieldType::ListMulti, "music").offering("Lute", "lute").open())
        .with(Field::new(FieldType::TextSingle, "seats").within(1, 12))
        .with(Field::lines("letter", "Dear all\ncome"))
        .with(Field::new(FieldType::Fixed, "").valued("That is all."))
}

fn answer(text: &str) -> Result<Submitted, Fault> {
    Submitted::parse(&crate::xml::parse(&format!("<x xmlns='jabber:x:data' type='submit'>{text}</x>")).unwrap())
}

fn field(var: &str, values: &[&str]) -> String {
    let values: String = values.iter().map(|value| format!("<value>{value}</value>")).collect();
    format!("<field var='{var}'>{values}</field>")
}

#[test]
fn a_form_is_written_as_the_xep_has_it() {
    let text = party().to_element().to_string();
    let parts = [
        "<x xmlns='jabber:x:data' type='form'><title>A party</title><instructions>Who comes?</instructions>",
        "<field type='hidden' var='FORM_TYPE'><value>urn:example:party</value></field>",
        "<field type='jid-multi' var='guests' label='Guests'><required/></field>",
        "<field type='text-single' var='place'><value>the garden</value></field>",
        "<field type='text-private' var='word'><desc>It is asked for at the gate.</desc></field>",
        "<field type='boolean' var='masked'><value>1</value></field>",
        "<field type='list-single' var='hour'><option label='at nine'><value>21</value></option><option><value>22</value></option></field>",
        "<field type='list-multi' var='music'><validate xmlns='http://jabber.org/protocol/xdata-validate' datatype='xs:string'><open/></validate><option label='Lute'><value>lute</value></option></field>",
        "<field type='text-single' var='seats'><validate xmlns='http://jabber.org/protocol/xdata-validate' datatype='xs:integer'><range min='1' max='12'/></validate></field>",
        "<field type='text-multi' var='letter'><value>Dear all</value><value>come</value></field>",
        "<field type='fixed'><value>That is all.</value></field></x>",
    ];
    assert_eq!(text, parts.concat());
}

#[test]
fn a_table_is_written_with_its_head() {
    let row = |name: &str| vec![Field::new(FieldType::TextSingle, "name").valued(name)];
    let columns = vec![Field::new(FieldType::TextSingle, "name").labelled("Name")];
    let text = Form::tell("").with_table(columns, vec![row("Romeo"), row("")]).to_element().to_string();
    assert_eq!(
        text,
        "<x xmlns='jabber:x:data' type='result'><reported><field type='text-single' var='name' label='Name'/></reported>\
         <item><field var='name'><value>Romeo</value></field></item><item><field var='name'><value/></field></item></x>"
    );
}

#[test]
fn answers_are_judged_by_what_was_asked() {
    let guests = field("guests", &["Romeo@montague.net", "paris@capulet.com", "romeo@montague.net"]);
    let rows: &[(String, Option<&str>)] = &[
        (String::new(), Some("guests")),
        (field("guests", &[]), Some("guests")),
        (field("guests", &["", ""]), Some("guests")),
        (field("guests", &["@"]), Some("guests")),
        (field("guests", &["romeo@montague.net", "a@b@c"]), Some("guests")),
        // Newer than stringprep: the next server would read another name.
        (field("guests", &["\u{1F139}uliet@capulet.com"]), Some("guests")),
        (guests.clone(), None),
        (guests.clone() + &field("unasked", &["a", "b"]), None),
        (guests.clone() + &field("place", &["a", "b"]), Some("place")),
        (guests.clone() + &field("place", &[""]), None),
        (guests.clone() + &field("masked", &["yes"]), Some("masked")),
        (guests.clone() + &field("masked", &["false"]), None),
        (guests.clone() + &field("hour", &["23"]), Some("hour")),
        (guests.clone() + &field("hour", &["22"]), None),
        (guests.clone() + &field("hour", &["21", "22"]), Some("hour")),
        (guests.clone() + &field("music", &["lute", "silence"]), None),
        (guests.clone() + &field("seats", &["0"]), Some("seats")),
        (guests.clone() + &field("seats", &["12"]), None),
        (guests.clone() + &field("seats", &["99999999999999999999"]), Some("seats")),
        (guests.clone() + &field("seats", &["many"]), Some("seats")),
        (guests.clone() + &field("FORM_TYPE", &["urn:example:party"]), None),
        (guests.clone() + &field("FORM_TYPE", &["urn:example:other"]), Some("FORM_TYPE")),
    ];
    for (text, bad) in rows {
        let found = party().judge(&answer(text).unwrap()).err().map(|fault| fault.var);
        assert_eq!(found.as_deref(), *bad, "{text}");
    }
}

#[test]
fn what_is_no_filled_in_form_is_refused() {
    let many: String = (0..=FIELDS_MAX).map(|n| field(&format!("f{n}"), &[])).collect();
    for text in ["<field><value>a</value></field>", "<field var=''/>", "<field var='a'/><field var='a'/>", &many] {
        assert!(answer(text).is_err(), "{text}");
    }
    assert!(answer("<field type='fixed'><value>a</value></field><other xmlns='urn:x'/>").is_ok());
    for text in [
        "<x xmlns='jabber:x:data' type='form'/>",
        "<x xmlns='jabber:x:data' type='cancel'/>",
        "<x xmlns='jabber:x:data'/>",
        "<x xmlns='urn:other' type='submit'/>",
        "<y xmlns='jabber:x:data' type='submit'/>",
    ] {
        assert!(Submitted::parse(&crate::xml::parse(text).unwrap()).is_err(), "{text}");
    }
}

#[test]
fn values_are_read_by_their_type() {
    let text = [
        field("guests", &["Romeo@montague.net", " ", "paris@capulet.com", "romeo@montague.net"]),
        field("letter", &["Dear all", "", "come"]),
        field("masked", &["0"]),
        field("seats", &[" 7 "]),
    ];
    let answer = answer(&text.concat()).unwrap();
    let guests: Vec<String> = answer.jids("guests").unwrap().iter().map(Jid::to_string).collect();
    assert_eq!(guests, ["romeo@montague.net", "paris@capulet.com"]);
    assert_eq!(answer.text("letter"), "Dear all\n\ncome");
    assert_eq!((answer.boolean("masked"), answer.boolean("nothing")), (Ok(Some(false)), Ok(None)));
    assert_eq!((answer.number("seats"), answer.number("nothing")), (Ok(Some(7)), Ok(None)));
    assert!(answer.boolean("seats").is_err() && answer.number("letter").is_err() && answer.jid("letter").is_err());
    assert!(answer.has("letter") && !answer.has("nothing"));
}

#[test]
fn who_goes_back_finds_what_was_filled_in_but_no_secret() {
    let answer =
        answer(&(field("place", &["the balcony"]) + &field("word", &["rosaline"]) + &field("hour", &[]))).unwrap();
    let text = party().remembering(&answer).to_element().to_string();
    assert!(text.contains("the balcony") && !text.contains("the garden") && !text.contains("rosaline"), "{text}");
    assert!(!format!("{answer:?}").contains("rosaline"));
}

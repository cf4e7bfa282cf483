//! XEP-0004: Data Forms, with XEP-0068's FORM_TYPE and the parts of XEP-0122 that our forms use.
//!
//! A [`Form`] is what we ask or tell; a [`Submitted`] is what came back; [`Form::judge`] says whether the one answers the
//! other. A module makes the form anew when it judges: nobody remembers what was asked.
//!
//! ```
//! use jabber::xmpp::data_form::{Field, FieldType, Form, Submitted};
//! let form = Form::ask("urn:example:garden").titled("The garden").with(
//!     Field::new(FieldType::JidMulti, "guests").labelled("Who may come in").required(),
//! );
//! let answer = Form::submit("urn:example:garden").with(Field::new(FieldType::JidMulti, "guests").valued("Juliet@capulet.com"));
//! let answer = Submitted::parse(&answer.to_element()).unwrap();
//! form.judge(&answer).unwrap();
//! assert_eq!(answer.jids("guests").unwrap()[0].as_str(), "juliet@capulet.com");
//! ```

mod judge;

use std::fmt;

use crate::xml::Element;
use crate::xmpp::{Jid, jid, ns};

/// XEP-0068 §3: the hidden field that says which form it is.
pub const FORM_TYPE: &str = "FORM_TYPE";

/// XEP-0004 §3.1: what a form is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormKind {
    /// It is to be filled in.
    Form,
    /// It is filled in.
    Submit,
    /// It will not be filled in.
    Cancel,
    /// It tells something.
    Result,
}

impl FormKind {
    /// The value of the attribute `type`.
    pub fn name(self) -> &'static str {
        match self {
            FormKind::Form => "form",
            FormKind::Submit => "submit",
            FormKind::Cancel => "cancel",
            FormKind::Result => "result",
        }
    }

    fn of(name: &str) -> Option<FormKind> {
        [FormKind::Form, FormKind::Submit, FormKind::Cancel, FormKind::Result]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// XEP-0004 §3.3: what a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the XEP's")]
pub enum FieldType {
    Boolean,
    Fixed,
    Hidden,
    JidMulti,
    JidSingle,
    ListMulti,
    ListSingle,
    TextMulti,
    TextPrivate,
    TextSingle,
}

impl FieldType {
    /// The value of the attribute `type`.
    pub fn name(self) -> &'static str {
        match self {
            FieldType::Boolean => "boolean",
            FieldType::Fixed => "fixed",
            FieldType::Hidden => "hidden",
            FieldType::JidMulti => "jid-multi",
            FieldType::JidSingle => "jid-single",
            FieldType::ListMulti => "list-multi",
            FieldType::ListSingle => "list-single",
            FieldType::TextMulti => "text-multi",
            FieldType::TextPrivate => "text-private",
            FieldType::TextSingle => "text-single",
        }
    }

    /// XEP-0004 §3.2: may it have more than one value?
    pub fn is_multi(self) -> bool {
        matches!(self, FieldType::Hidden | FieldType::JidMulti | FieldType::ListMulti | FieldType::TextMulti)
    }
}

/// A field of a form of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    kind: FieldType,
    var: String,
    label: String,
    description: String,
    is_required: bool,
    values: Vec<String>,
    options: Vec<(String, String)>,
    /// XEP-0122 §3.2.2: other values than the options will do, too.
    is_open: bool,
    /// XEP-0122 §3.2.3: a whole number within these bounds.
    range: Option<(i64, i64)>,
}

impl Field {
    /// A field with nothing but a type and a name; `fixed` fields may have an empty one.
    pub fn new(kind: FieldType, var: impl Into<String>) -> Field {
        Field {
            kind,
            var: var.into(),
            label: String::new(),
            description: String::new(),
            is_required: false,
            values: Vec::new(),
            options: Vec::new(),
            is_open: false,
            range: None,
        }
    }

    /// An either-or with its present value.
    pub fn boolean(var: impl Into<String>, value: bool) -> Field {
        Field::new(FieldType::Boolean, var).valued(if value { "1" } else { "0" })
    }

    /// Several lines of text, a value each (XEP-0004 §3.3).
    pub fn lines(var: impl Into<String>, text: &str) -> Field {
        Field::new(FieldType::TextMulti, var).with_values(text.lines().map(str::to_owned))
    }

    /// The same field with the name that people read.
    #[must_use]
    pub fn labelled(self, label: impl Into<String>) -> Field {
        Field { label: label.into(), ..self }
    }

    /// The same field with a longer explanation.
    #[must_use]
    pub fn described(self, description: impl Into<String>) -> Field {
        Field { description: description.into(), ..self }
    }

    /// The same field, which must be filled in.
    #[must_use]
    pub fn required(self) -> Field {
        Field { is_required: true, ..self }
    }

    /// The same field with one more value.
    #[must_use]
    pub fn valued(mut self, value: impl Into<String>) -> Field {
        self.values.push(value.into());
        self
    }

    /// The same field with more values.
    #[must_use]
    pub fn with_values(mut self, values: impl IntoIterator<Item = String>) -> Field {
        self.values.extend(values);
        self
    }

    /// The same field with something to choose from: a label, and the value it stands for.
    #[must_use]
    pub fn offering(mut self, label: impl Into<String>, value: impl Into<String>) -> Field {
        self.options.push((label.into(), value.into()));
        self
    }

    /// The same field, for which other values than those offered will do.
    #[must_use]
    pub fn open(self) -> Field {
        Field { is_open: true, ..self }
    }

    /// The same field, for a whole number from `least` to `most`.
    #[must_use]
    pub fn within(self, least: i64, most: i64) -> Field {
        Field { range: Some((least, most)), ..self }
    }

    fn element(name: &'static str) -> Element {
        Element::new(name, ns::DATA_FORMS)
    }

    /// `is_typed`: XEP-0004 §3.2 wants the type in forms to fill in; elsewhere it only helps.
    fn to_element(&self, is_typed: bool) -> Element {
        let mut field = Field::element("field");
        if is_typed || self.var == FORM_TYPE {
            field = field.with_attribute("type", self.kind.name());
        }
        if !self.var.is_empty() {
            field = field.with_attribute("var", self.var.clone());
        }
        if !self.label.is_empty() {
            field = field.with_attribute("label", self.label.clone());
        }
        if !self.description.is_empty() {
            field = field.with_child(Field::element("desc").with_text(self.description.clone()));
        }
        if self.is_required {
            field = field.with_child(Field::element("required"));
        }
        let value = |text: &String| Field::element("value").with_text(text.clone());
        let option = |(label, text): &(String, String)| {
            let option = Field::element("option").with_child(value(text));
            if label.is_empty() { option } else { option.with_attribute("label", label.clone()) }
        };
        field
            .with_children(self.validation())
            .with_children(self.values.iter().map(value))
            .with_children(self.options.iter().map(option))
    }

    /// XEP-0122 §3.
    fn validation(&self) -> Option<Element> {
        let element = |name: &'static str| Element::new(name, ns::FORM_VALIDATION);
        let method = match (self.range, self.is_open) {
            (Some((least, most)), _) => {
                element("range").with_attribute("min", least.to_string()).with_attribute("max", most.to_string())
            }
            (None, true) => element("open"),
            (None, false) => return None,
        };
        let datatype = if self.range.is_some() { "xs:integer" } else { "xs:string" };
        Some(element("validate").with_attribute("datatype", datatype).with_child(method))
    }
}

/// A form of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    kind: FormKind,
    title: String,
    instructions: Vec<String>,
    fields: Vec<Field>,
    /// Elements of other namespaces that stand beside the fields.
    others: Vec<Element>,
    reported: Vec<Field>,
    items: Vec<Vec<Field>>,
}

impl Form {
    fn new(kind: FormKind, form_type: &str) -> Form {
        let fields = match form_type.is_empty() {
            true => Vec::new(),
            false => vec![Field::new(FieldType::Hidden, FORM_TYPE).valued(form_type)],
        };
        let (title, instructions) = (String::new(), Vec::new());
        Form { kind, title, instructions, fields, others: Vec::new(), reported: Vec::new(), items: Vec::new() }
    }

    /// A form to fill in; an empty `form_type` is none.
    pub fn ask(form_type: &str) -> Form {
        Form::new(FormKind::Form, form_type)
    }

    /// A form that tells something.
    pub fn tell(form_type: &str) -> Form {
        Form::new(FormKind::Result, form_type)
    }

    /// A form that is filled in.
    pub fn submit(form_type: &str) -> Form {
        Form::new(FormKind::Submit, form_type)
    }

    /// The same form with a title.
    #[must_use]
    pub fn titled(self, title: impl Into<String>) -> Form {
        Form { title: title.into(), ..self }
    }

    /// The same form with one more line of instructions.
    #[must_use]
    pub fn instructed(mut self, text: impl Into<String>) -> Form {
        self.instructions.push(text.into());
        self
    }

    /// The same form with one more field.
    #[must_use]
    pub fn with(mut self, field: Field) -> Form {
        self.fields.push(field);
        self
    }

    /// The same form with more fields.
    #[must_use]
    pub fn with_fields(mut self, fields: impl IntoIterator<Item = Field>) -> Form {
        self.fields.extend(fields);
        self
    }

    /// The same form with an element of another namespace behind its fields.
    #[must_use]
    pub fn beside(mut self, element: Element) -> Form {
        self.others.push(element);
        self
    }

    /// XEP-0004 §3.4: a table, by its columns and the fields of each row.
    #[must_use]
    pub fn with_table(self, reported: Vec<Field>, items: Vec<Vec<Field>>) -> Form {
        Form { reported, items, ..self }
    }

    /// The same form filled in as it was before, for who goes a step back. Secrets are not shown again.
    #[must_use]
    pub fn remembering(mut self, before: &Submitted) -> Form {
        let asked =
            |field: &&mut Field| !matches!(field.kind, FieldType::Hidden | FieldType::Fixed | FieldType::TextPrivate);
        for field in self.fields.iter_mut().filter(asked) {
            if before.has(&field.var) {
                field.values = before.values(&field.var).to_vec();
            }
        }
        self
    }

    /// The element, `<x xmlns='jabber:x:data'/>`.
    pub fn to_element(&self) -> Element {
        let text = |name: &'static str, text: &String| Field::element(name).with_text(text.clone());
        let row = |name: &'static str, fields: &Vec<Field>, is_typed: bool| {
            Field::element(name).with_children(fields.iter().map(|field| field.to_element(is_typed)))
        };
        let is_typed = self.kind == FormKind::Form;
        let title = (!self.title.is_empty()).then(|| text("title", &self.title));
        let reported = (!self.reported.is_empty()).then(|| row("reported", &self.reported, true));
        Field::element("x")
            .with_attribute("type", self.kind.name())
            .with_children(title)
            .with_children(self.instructions.iter().map(|line| text("instructions", line)))
            .with_children(self.fields.iter().map(|field| field.to_element(is_typed)))
            .with_children(self.others.iter().cloned())
            .with_children(reported)
            .with_children(self.items.iter().map(|fields| row("item", fields, false)))
    }
}

/// A form as somebody filled it in: the values of each field, by its name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Submitted {
    fields: Vec<(String, Vec<String>)>,
}

/// A password may be among the values.
impl fmt::Debug for Submitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.fields.iter().map(|(var, _)| var)).finish()
    }
}

/// How many fields are read of a form; our own have far fewer.
const FIELDS_MAX: usize = 200;

impl Submitted {
    /// Reads a form of type `submit`. `None` for [`FormKind::Cancel`] is the caller's to decide: ask [`kind_of`] first.
    ///
    /// # Errors
    /// When it is no such form, or has a field without a name, or two of one name, or too many.
    pub fn parse(form: &Element) -> Result<Submitted, Fault> {
        if kind_of(form) != Some(FormKind::Submit) {
            return Err(Fault::new("", "this is not a form that was filled in"));
        }
        Submitted::fields_of(form)
    }

    /// Reads the fields of a form of whatever type.
    ///
    /// # Errors
    /// As [`Submitted::parse`].
    pub fn fields_of(form: &Element) -> Result<Submitted, Fault> {
        let mut fields: Vec<(String, Vec<String>)> = Vec::new();
        for field in form.children().filter(|child| child.is("field", ns::DATA_FORMS)) {
            let var = match field.attribute("var") {
                Some(var) if !var.is_empty() => var,
                _ if field.attribute("type") == Some("fixed") => continue,
                _ => return Err(Fault::new("", "a field has no name")),
            };
            if fields.iter().any(|(name, _)| name == var) {
                return Err(Fault::new(var, "it is there twice"));
            }
            if fields.len() >= FIELDS_MAX {
                return Err(Fault::new("", format!("a form has {FIELDS_MAX} fields at most")));
            }
            let values = field.children().filter(|child| child.is("value", ns::DATA_FORMS));
            fields.push((var.to_owned(), values.map(|value| value.text().into_owned()).collect()));
        }
        Ok(Submitted { fields })
    }

    /// Is the field there, if only empty? XEP-0004 §3.5: what is left out keeps its value.
    pub fn has(&self, var: &str) -> bool {
        self.fields.iter().any(|(name, _)| name == var)
    }

    /// All values of a field; none if it is not there.
    pub fn values(&self, var: &str) -> &[String] {
        let field = self.fields.iter().find(|(name, _)| name == var);
        field.map(|(_, values)| values.as_slice()).unwrap_or_default()
    }

    /// How many bytes the names and values have.
    pub fn bytes(&self) -> usize {
        let of = |(var, values): &(String, Vec<String>)| {
            values.iter().fold(var.len(), |sum, value| sum.saturating_add(value.len()))
        };
        self.fields.iter().map(of).fold(0, usize::saturating_add)
    }

    /// The first value that is not empty.
    pub fn value(&self, var: &str) -> Option<&str> {
        self.values(var).iter().map(String::as_str).find(|value| !value.is_empty())
    }

    /// The values as lines of one text (XEP-0004 §3.3).
    pub fn text(&self, var: &str) -> String {
        self.values(var).join("\n")
    }

    /// An either-or, if it is there.
    ///
    /// # Errors
    /// When it is neither.
    pub fn boolean(&self, var: &str) -> Result<Option<bool>, Fault> {
        self.value(var)
            .map(|value| judge::boolean(value).ok_or_else(|| Fault::new(var, "it is neither true nor false")))
            .transpose()
    }

    /// The JIDs in a field, each once (XEP-0004 §3.3: duplicates are ignored).
    ///
    /// # Errors
    /// When a value is no JID.
    pub fn jids(&self, var: &str) -> Result<Vec<Jid>, Fault> {
        let mut jids: Vec<Jid> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for value in self.values(var).iter().map(|value| value.trim()).filter(|value| !value.is_empty()) {
            let jid = jid::stable(value).ok_or_else(|| judge::no_jid(var, value))?;
            if seen.insert(jid.clone()) {
                jids.push(jid);
            }
        }
        Ok(jids)
    }

    /// The first JID in a field.
    ///
    /// # Errors
    /// When it is no JID.
    pub fn jid(&self, var: &str) -> Result<Option<Jid>, Fault> {
        Ok(self.jids(var)?.into_iter().next())
    }

    /// A whole number, if it is there.
    ///
    /// # Errors
    /// When it is none.
    pub fn number(&self, var: &str) -> Result<Option<i64>, Fault> {
        let number = |value: &str| value.trim().parse().map_err(|_| Fault::new(var, "it is not a whole number"));
        self.value(var).map(number).transpose()
    }
}

/// What kind of form an element is; `None` if it is none.
pub fn kind_of(form: &Element) -> Option<FormKind> {
    form.is("x", ns::DATA_FORMS).then(|| form.attribute("type").and_then(FormKind::of)).flatten()
}

/// What is wrong with a form that was filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    var: String,
    why: String,
}

impl Fault {
    /// A fault of one field; of the whole form if `var` is empty.
    pub fn new(var: impl Into<String>, why: impl Into<String>) -> Fault {
        Fault { var: var.into(), why: why.into() }
    }
}

/// For who filled it in.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.var.is_empty() {
            true => write!(f, "The form cannot be used: {}.", self.why),
            false => write!(f, "The field \"{}\" cannot be used: {}.", self.var, self.why),
        }
    }
}

#[cfg(test)]
mod tests;

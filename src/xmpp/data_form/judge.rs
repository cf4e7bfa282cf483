//! Whether what came back answers what was asked (XEP-0004 §4: it is ours to check).

use super::{FORM_TYPE, Fault, Field, FieldType, Form, Submitted};
use crate::xmpp::jid;

impl Form {
    /// Does this answer the form? Fields that were not asked for are passed over (XEP-0004 §3.1); what was not required
    /// may be missing.
    ///
    /// # Errors
    /// The first fault, for who filled it in.
    pub fn judge(&self, answer: &Submitted) -> Result<(), Fault> {
        self.fields.iter().try_for_each(|field| field.judge(answer))
    }
}

impl Field {
    fn judge(&self, answer: &Submitted) -> Result<(), Fault> {
        let values = answer.values(&self.var);
        let fault = |why: &str| Err(Fault::new(self.var.clone(), why));
        if self.var == FORM_TYPE {
            // XEP-0068 §3: who leaves it out is of an older time; who names another form means another form.
            return match values.first().is_none_or(|value| self.values.contains(value)) {
                true => Ok(()),
                false => fault("it names another form"),
            };
        }
        if matches!(self.kind, FieldType::Fixed | FieldType::Hidden) {
            return Ok(());
        }
        if values.len() > 1 && !self.kind.is_multi() {
            return fault("it has more than one value");
        }
        if self.is_required && answer.value(&self.var).is_none() {
            return fault("it must be filled in");
        }
        values.iter().filter(|value| !value.is_empty()).try_for_each(|value| self.judge_value(value))
    }

    fn judge_value(&self, value: &str) -> Result<(), Fault> {
        let fault = |why: String| Err(Fault::new(self.var.clone(), why));
        match self.kind {
            FieldType::Boolean if boolean(value).is_none() => return fault("it is neither true nor false".to_owned()),
            FieldType::JidSingle | FieldType::JidMulti if jid::stable(value.trim()).is_none() => {
                return Err(no_jid(&self.var, value));
            }
            FieldType::ListSingle | FieldType::ListMulti => {
                let is_offered = self.options.iter().any(|(_, offered)| offered == value);
                if !is_offered && !self.is_open && self.range.is_none() {
                    return fault("it has a value that was not offered".to_owned());
                }
                if is_offered {
                    return Ok(());
                }
            }
            _ => {}
        }
        match self.range {
            Some((least, most)) if !value.trim().parse().is_ok_and(|number| (least..=most).contains(&number)) => {
                fault(format!("it is not a whole number from {least} to {most}"))
            }
            _ => Ok(()),
        }
    }
}

/// XEP-0004 §3.3: the lexical forms of `xs:boolean`.
pub(super) fn boolean(value: &str) -> Option<bool> {
    match value.trim() {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

pub(super) fn no_jid(var: &str, value: &str) -> Fault {
    // What is long is not worth repeating.
    let shown: String = value.chars().take(100).collect();
    Fault::new(var, format!("\"{shown}\" is not a JID"))
}

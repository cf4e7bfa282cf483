//! What components kept in the spool for their own users, by `<xdb/>` packets: transports the logins to other networks, a
//! user directory its list. `SPOOL/COMPONENT/USER.xml`, hashed or not, and `global.xdb` for the component itself.
//!
//! It is kept where `<xdb/>` packets find it, under the namespace of `xdbns=`, and written back to the same files.

use std::path::Path;

use super::document::{self, XDB};
use super::walk::ComponentFile;
use super::{LEFT_PER_COMMIT, export, file_text};
use crate::import::report::Report;
use crate::import::{ExportError, Step, Work};
use crate::store::component_data::{self, Kept, Key};
use crate::store::{Error, Store, imported};
use crate::xml::{Element, writer};

/// Keeps all of these files, each in one piece with the note that it is done. Returns whether it was stopped.
pub(super) fn keep(work: &mut Work<'_>, files: &[ComponentFile]) -> Result<bool, Error> {
    for (index, file) in files.iter().enumerate() {
        let found = file_text(&file.file).and_then(|text| Ok(document::with_tree(text, pieces)?));
        if found.as_ref().is_ok_and(|pieces| !pieces.is_empty()) && work.is_stopped_at_copy()? {
            return Ok(true);
        }
        match found {
            Ok(pieces) => work.store.savepoint(|store| {
                for (xdbns, element) in &pieces {
                    piece(store, &mut work.report, file, xdbns, element.as_ref())?;
                }
                work.report.counts.component_files += 1;
                imported::set_file(store, &file.file.key, file.file.seen)
            })?,
            Err(failure) => {
                work.report.left(&file.file.name, &failure.why);
                work.report.counts.unread += 1;
                if !failure.again {
                    imported::set_left(work.store, &file.file.key, file.file.seen)?;
                }
            }
        }
        // A server beside waits for what is not committed, and whoever asks may take his time.
        if (index + 1) % LEFT_PER_COMMIT.min(work.plan.accounts_per_commit.max(1)) == 0 {
            work.commit()?;
            if work.is_stopped(Step::Components, index + 1, files.len()) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The children of the root that are data, by their namespaces; `None` for what is too deep.
fn pieces(document: &roxmltree::Document<'_>) -> Vec<(String, Option<Element>)> {
    let elements = document.root_element().children().filter(roxmltree::Node::is_element);
    let named = elements.filter_map(|piece| Some((piece.attribute("xdbns")?.to_owned(), piece)));
    named.map(|(xdbns, piece)| (xdbns.clone(), document::convert_into(piece, &["", XDB], &xdbns))).collect()
}

fn piece(
    store: &mut Store,
    report: &mut Report<'_>,
    file: &ComponentFile,
    xdbns: &str,
    element: Option<&Element>,
) -> Result<(), Error> {
    let name = &file.file.name;
    let key = Key { host: &file.host, localpart: &file.localpart, ns: xdbns };
    let why = match element {
        None => "too deep",
        Some(_) if xdbns == "base:accept:offline" => "what waited for the component when the old server ended",
        Some(_) if component_data::exists(store, &key)? => "it is here already, and stays as it is",
        Some(element) => {
            let element = element.clone().without_attribute("xdbns");
            // All of it, whatever the bound: it was the old server's to take.
            return match component_data::set(store, &key, Some(&element), u64::MAX)? {
                Kept::Kept | Kept::Full => Ok(()),
            };
        }
    };
    report.piece(name, xdbns, why);
    Ok(())
}

/// Writes what components keep here below a directory.
pub(super) fn export_all(store: &Store, directory: &Path, exported: &mut export::Exported) -> Result<(), ExportError> {
    for (host, localpart) in component_data::addresses(store)? {
        let mut out = String::from("<xdb>");
        for (xdbns, element) in component_data::all(store, &host, &localpart)? {
            writer::element(&mut out, &export::piece(&xdbns, element), "");
        }
        out.push_str("</xdb>");
        let name = if localpart.is_empty() { "global.xdb".to_owned() } else { format!("{localpart}.xml") };
        let path = directory.join(&host).join(name);
        exported.component_files += u64::from(export::write_or_tell(exported, path, &out)?);
    }
    Ok(())
}

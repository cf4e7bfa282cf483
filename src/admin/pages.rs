//! Long lists: a page in each tick.

use std::vec;

use serde_json::Value;

use super::job::{Event, Job, Next};
use super::request::Refusal;
use super::view::View;

/// Rows in one tick.
const ROWS: usize = 200;

/// A list that is told page by page. What is gone when its turn comes has no row.
struct Pages<T, F> {
    items: vec::IntoIter<T>,
    row: F,
}

/// Tells a row of each item.
pub(super) fn told<T, F>(view: &mut View<'_>, items: Vec<T>, row: F) -> Result<Next, Refusal>
where
    T: 'static,
    F: Fn(&View<'_>, T) -> Result<Option<Value>, Refusal> + 'static,
{
    Box::new(Pages { items: items.into_iter(), row }).step(view, Event::GoOn)
}

impl<T, F> Job for Pages<T, F>
where
    T: 'static,
    F: Fn(&View<'_>, T) -> Result<Option<Value>, Refusal> + 'static,
{
    fn step(mut self: Box<Self>, view: &mut View<'_>, _: Event) -> Result<Next, Refusal> {
        for item in self.items.by_ref().take(ROWS) {
            if let Some(row) = (self.row)(view, item)? {
                view.answer.row(row);
            }
        }
        if self.items.as_slice().is_empty() { Ok(Next::Done) } else { Ok(Next::More(self)) }
    }
}

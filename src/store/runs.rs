//! Which processes went on with the store, and from where. Who followed its feed can so tell whether it was this one: an older copy of the
//! whole folder that was put back, as a card's image is, has the same names and numbers, but not the runs since.

use redb::ReadableTable as _;
use uuid::Uuid;

use super::schema::KEY_RUNS;
use super::tables::META;
use super::{Snapshot, StoreError, Transaction};

/// Runs that are remembered.
const REMEMBERED: usize = 200;

/// A process that has the store open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its name; no two have the same.
    pub name: String,
    /// The feed's newest number when it began.
    pub begun_at: u64,
}

impl Run {
    pub(super) fn begin(head: u64) -> Self {
        Self { name: Uuid::new_v4().simple().to_string(), begun_at: head }
    }
}

/// The runs that a store remembers, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runs(Vec<Run>);

impl Runs {
    /// A line each: the name, and where it began.
    fn read(text: &str) -> Self {
        let run = |line: &str| {
            let (name, begun_at) = line.split_once(' ')?;
            Some(Run { name: name.to_owned(), begun_at: begun_at.parse().ok()? })
        };
        Self(text.lines().filter_map(run).collect())
    }

    fn text(&self) -> String {
        let lines: Vec<String> = self.0.iter().map(|run| format!("{} {}", run.name, run.begun_at)).collect();
        lines.join("\n")
    }

    /// Adds `run`, unless it is there; says whether it was not.
    fn add(&mut self, run: &Run) -> bool {
        if self.0.contains(run) {
            return false;
        }
        self.0.push(run.clone());
        self.0.drain(..self.0.len().saturating_sub(REMEMBERED));
        true
    }

    /// Whether the feed up to `number`, as the run called `name` had it, is the one that this store has.
    pub fn vouch_for(&self, name: &str, number: u64) -> bool {
        let Some(at) = self.0.iter().position(|run| run.name == name) else { return false };
        self.0.get(at + 1).is_none_or(|next| number <= next.begun_at)
    }
}

impl Transaction<'_> {
    /// Notes that `run` goes on with the store; says which runs are noted now.
    pub fn note_run(&mut self, run: &Run) -> Result<Runs, StoreError> {
        let mut runs = self.meta.get(KEY_RUNS)?.map(|text| Runs::read(text.value())).unwrap_or_default();
        if runs.add(run) {
            self.changed = true;
            self.meta.insert(KEY_RUNS, runs.text().as_str())?;
        }
        Ok(runs)
    }
}

impl Snapshot {
    /// The runs that are noted.
    pub fn runs(&self) -> Result<Runs, StoreError> {
        Ok(self.table(META)?.get(KEY_RUNS)?.map(|text| Runs::read(text.value())).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_was_put_back_vouches_for_what_it_had_and_for_nothing_since() {
        let run = |name: &str, begun_at| Run { name: name.to_owned(), begun_at };
        let mut original = Runs::default();
        original.add(&run("a", 0));
        original.add(&run("b", 90));
        let mut copy = Runs::read(&original.text());
        assert_eq!(copy, original);
        // The copy was taken at 100; the original went on to 150, in the same run.
        copy.add(&run("c", 100));
        assert!(original.vouch_for("b", 150) && copy.vouch_for("b", 100) && copy.vouch_for("a", 90));
        assert!(!copy.vouch_for("b", 150), "that was of the original");
        original.add(&run("d", 150));
        assert!(!copy.vouch_for("d", 150) && !copy.vouch_for("", 0));
        for number in 0..REMEMBERED as u64 {
            copy.add(&run(&number.to_string(), 1000 + number));
        }
        assert!(!copy.vouch_for("c", 0), "it is forgotten");
        assert!(copy.vouch_for("199", u64::MAX), "the present one");
    }
}

//! Sections that may be given several times, `[[section.name]]`.

use toml::{Table, Value};

use super::reader::{Reader, nearest, unknown};

impl Reader {
    /// Any number of sections of the same name, `[[section.name]]`, each read by `read`.
    pub fn sections<T>(&mut self, section: &'static str, name: &'static str, read: impl Fn(&mut Nested<'_>) -> T) -> Vec<T> {
        let allowed = format!("sections, [[{section}.{name}]]");
        let Some(given) = self.take(section, name, None, &allowed) else { return Vec::new() };
        let tables = given.as_array().and_then(|all| all.iter().map(Value::as_table).collect::<Option<Vec<_>>>());
        let Some(tables) = tables else {
            self.wrong(section, name, &given, &allowed);
            return Vec::new();
        };
        let mut values = Vec::new();
        for (number, table) in tables.into_iter().enumerate() {
            let name = format!("{name}[{number}]");
            let mut nested = Nested { reader: self, section, name, table: table.clone(), known: Vec::new() };
            values.push(read(&mut nested));
            nested.finish();
        }
        values
    }
}

/// One of several sections of the same name.
pub struct Nested<'r> {
    reader: &'r mut Reader,
    section: &'static str,
    name: String,
    table: Table,
    known: Vec<&'static str>,
}

impl Nested<'_> {
    /// The value of a key that need not be set, read by `read`.
    pub fn read<T>(&mut self, key: &'static str, allowed: &str, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        self.known.push(key);
        let given = self.table.remove(key)?;
        let found = read(&given);
        if found.is_none() {
            self.reader.wrong(self.section, &format!("{}.{key}", self.name), &given, allowed);
        }
        found
    }

    /// Tells of keys that nobody has read.
    fn finish(self) {
        for key in self.table.keys() {
            let full = format!("{}.{}.{key}", self.section, self.name);
            let nearest = nearest(key, self.known.iter().copied());
            self.reader.warn(unknown(&full, nearest));
        }
    }
}

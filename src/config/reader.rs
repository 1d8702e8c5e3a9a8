//! Reading keys one by one, so that every mistake is found and every key is known.

use std::collections::HashMap;
use std::fmt::Display;
use std::ops::RangeInclusive;

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::secrecy::Secrecy;
use super::{Credentials, Mistakes};

/// How alike a known key must be to be suggested, 0 to 1 (Jaro–Winkler).
const ALIKE: f64 = 0.75;

/// What a token may be: it travels in a header.
const TOKEN: &str = "visible ASCII characters without spaces, at least one";

/// One key of the configuration.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its section.
    pub section: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// Its value where none is given; `None` where it is then not set.
    pub default: Option<Value>,
    /// What it may be, in words.
    pub allowed: String,
    given: Option<Value>,
    secrecy: Secrecy,
}

impl Key {
    /// The value in force, which may be a secret.
    pub fn value(&self) -> Option<&Value> {
        self.given.as_ref().or(self.default.as_ref())
    }

    /// The value in force, as TOML, secrets masked.
    pub fn shown(&self) -> Option<String> {
        let value = self.value()?;
        Some(self.secrecy.shown(value))
    }
}

/// Collects what is read, what is wrong and what is left over.
pub struct Reader {
    table: Table,
    credentials: Credentials,
    /// In which line each `section.name` is given.
    lines: HashMap<String, usize>,
    keys: Vec<Key>,
    mistakes: Vec<String>,
    warnings: Vec<String>,
}

impl Reader {
    pub fn new(text: &str, credentials: Credentials) -> Result<Self, Mistakes> {
        let table = text.parse::<Table>().map_err(|error| {
            let line = error.span().map_or(1, |span| line_at(text, span.start));
            Mistakes(vec![format!("line {line}: {}", error.message())])
        })?;
        Ok(Self { table, credentials, lines: lines(text), keys: Vec::new(), mistakes: Vec::new(), warnings: Vec::new() })
    }

    /// Takes the value given for a key and notes that the key is known.
    pub(super) fn take(
        &mut self,
        section: &'static str,
        name: &'static str,
        default: Option<Value>,
        allowed: &str,
    ) -> Option<Value> {
        let given = match self.table.get_mut(section) {
            Some(Value::Table(section)) => section.remove(name),
            _ => None,
        };
        let key = Key { section, name, default, allowed: allowed.to_owned(), given: given.clone(), secrecy: Secrecy::Open };
        self.keys.push(key);
        given
    }

    pub(super) fn wrong(&mut self, section: &str, name: &str, value: &impl Display, allowed: &str) {
        self.fault(section, name, value, &format!("must be {allowed}"));
    }

    fn fault(&mut self, section: &str, name: &str, value: &impl Display, fault: &str) {
        let name = format!("{section}.{name}");
        let line = self.lines.get(&name).map_or(String::new(), |line| format!("line {line}: "));
        self.mistakes.push(format!("{line}{name} = {value}: {fault}"));
    }

    /// A whole number.
    pub fn integer(&mut self, section: &'static str, name: &'static str, default: i64, range: RangeInclusive<i64>) -> i64 {
        let allowed = format!("a whole number from {} to {}", range.start(), range.end());
        match self.take(section, name, Some(default.into()), &allowed) {
            None => default,
            Some(Value::Integer(value)) if range.contains(&value) => value,
            Some(value) => {
                self.wrong(section, name, &value, &allowed);
                default
            }
        }
    }

    /// Whether something is wanted.
    pub fn yes_or_no(&mut self, section: &'static str, name: &'static str, default: bool) -> bool {
        match self.take(section, name, Some(default.into()), "true or false") {
            None => default,
            Some(Value::Boolean(value)) => value,
            Some(value) => {
                self.wrong(section, name, &value, "true or false");
                default
            }
        }
    }

    /// A text that need not be set, read by `read`.
    pub fn optional_read<T>(
        &mut self,
        section: &'static str,
        name: &'static str,
        allowed: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let given = self.take(section, name, None, allowed)?;
        let text = given.as_str().unwrap_or("?").to_owned();
        if text.is_empty() {
            return None;
        }
        let found = read(&text);
        if found.is_none() {
            self.wrong(section, name, &given, allowed);
        }
        found
    }

    /// Adds a mistake that only several keys together make.
    pub fn mistake(&mut self, sentence: String) {
        self.mistakes.push(sentence);
    }

    /// A text that is not empty, or the default.
    pub fn text(&mut self, section: &'static str, name: &'static str, default: &str) -> String {
        self.checked_text(section, name, default, "a text that is not empty", |text| !text.is_empty())
    }

    /// A text for which `check` holds.
    pub fn checked_text(
        &mut self,
        section: &'static str,
        name: &'static str,
        default: &str,
        allowed: &str,
        check: impl Fn(&str) -> bool,
    ) -> String {
        match self.take(section, name, Some(default.into()), allowed) {
            None => default.to_owned(),
            Some(Value::String(text)) if check(&text) => text,
            Some(value) => {
                self.wrong(section, name, &value, allowed);
                default.to_owned()
            }
        }
    }

    /// A text that need not be set; an empty one is not.
    pub fn optional_text(&mut self, section: &'static str, name: &'static str) -> Option<String> {
        self.optional(section, name, Secrecy::Open)
    }

    /// [`Reader::optional_text`] that is never shown.
    pub fn optional_secret(&mut self, section: &'static str, name: &'static str) -> Option<String> {
        self.optional(section, name, Secrecy::Secret)
    }

    /// A token that need not be set and is never shown: the file's, else that of the systemd credential `credential`. One that is
    /// given and empty is a mistake, since without a token everybody would be let in.
    pub fn optional_token(&mut self, section: &'static str, name: &'static str, credential: &str) -> Option<String> {
        let mut given = self.take(section, name, None, TOKEN);
        let mut place = String::new();
        if given.is_none() {
            match self.credentials.read(credential) {
                Ok(text) => given = text.map(Value::from),
                Err(reason) => self.mistakes.push(format!("{section}.{name}: {reason}")),
            }
            place = format!(" (by the credential {credential})");
        }
        if let Some(key) = self.keys.last_mut() {
            key.secrecy = Secrecy::Secret;
            key.given.clone_from(&given);
        }
        match given {
            None => None,
            Some(Value::String(text)) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) => Some(text),
            Some(value) => {
                let shown = if value.as_str() == Some("") { "\"\"" } else { "***" };
                self.wrong(section, name, &format!("{shown}{place}"), TOKEN);
                None
            }
        }
    }

    /// [`Reader::optional_text`] whose user and password are never shown.
    pub fn optional_url(&mut self, section: &'static str, name: &'static str) -> Option<String> {
        self.optional(section, name, Secrecy::Url)
    }

    fn optional(&mut self, section: &'static str, name: &'static str, secrecy: Secrecy) -> Option<String> {
        let given = self.take(section, name, None, "a text");
        if let Some(key) = self.keys.last_mut() {
            key.secrecy = secrecy;
        }
        match given {
            None => None,
            Some(Value::String(text)) => Some(text).filter(|text| !text.is_empty()),
            Some(value) => {
                let shown = if secrecy == Secrecy::Open { value.to_string() } else { "***".to_owned() };
                self.wrong(section, name, &shown, "a text");
                None
            }
        }
    }

    /// A text that need not be set and that `parse` understands; its error says what is wrong.
    pub fn optional_parsed<T>(
        &mut self,
        section: &'static str,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.optional_text(section, name)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.fault(section, name, &format!("{text:?}"), &reason);
                None
            }
        }
    }

    /// A text that need not be set, or a list of such texts, each of which `parse` understands.
    pub fn one_or_more<T>(
        &mut self,
        section: &'static str,
        name: &'static str,
        allowed: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let allowed = format!("{allowed}, or a list of such");
        let texts = match self.take(section, name, None, &allowed) {
            None => return Vec::new(),
            Some(Value::String(text)) if text.is_empty() => return Vec::new(),
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(all)) if all.iter().all(Value::is_str) => {
                all.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
            }
            Some(value) => {
                self.wrong(section, name, &value, &allowed);
                return Vec::new();
            }
        };
        let mut values = Vec::new();
        for text in texts {
            match parse(&text) {
                Ok(value) => values.push(value),
                Err(reason) => self.fault(section, name, &format!("{text:?}"), &reason),
            }
        }
        values
    }

    /// A list of texts.
    pub fn texts(&mut self, section: &'static str, name: &'static str, allowed: &str) -> Vec<String> {
        let Some(given) = self.take(section, name, Some(Value::Array(Vec::new())), allowed) else { return Vec::new() };
        let texts = given
            .as_array()
            .and_then(|all| all.iter().map(|value| value.as_str().map(ToOwned::to_owned)).collect::<Option<Vec<_>>>());
        texts.unwrap_or_else(|| {
            self.wrong(section, name, &given, allowed);
            Vec::new()
        })
    }

    /// One of some words.
    pub fn word<T: Copy>(&mut self, section: &'static str, name: &'static str, words: &[(&str, T)], default: usize) -> T {
        let names: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let allowed = format!("one of {}", names.join(", "));
        let (default_word, default) = words[default];
        match self.take(section, name, Some(default_word.into()), &allowed) {
            None => default,
            Some(value) => match words.iter().find(|(word, _)| value.as_str() == Some(word)) {
                Some((_, chosen)) => *chosen,
                None => {
                    self.wrong(section, name, &value, &allowed);
                    default
                }
            },
        }
    }

    /// Whether the file gives a value for this key. Ask before the key is read.
    pub fn gives(&self, section: &str, name: &str) -> bool {
        self.table.get(section).and_then(Value::as_table).is_some_and(|section| section.contains_key(name))
    }

    /// Masks user and password of this URL where it is shown.
    pub fn mask_user_info(&mut self, section: &str, name: &str) {
        if let Some(key) = self.keys.iter_mut().find(|key| key.section == section && key.name == name) {
            key.secrecy = Secrecy::Url;
        }
    }

    /// Notes the value that a rule put in place of the default.
    pub fn overrule(&mut self, section: &str, name: &str, value: Value) {
        if let Some(key) = self.keys.iter_mut().find(|key| key.section == section && key.name == name) {
            key.given = Some(value);
        }
    }

    /// Adds a sentence of warning.
    pub fn warn(&mut self, sentence: String) {
        self.warnings.push(sentence);
    }

    /// All keys and warnings, unknown keys among them.
    pub fn finish(mut self) -> Result<(Vec<Key>, Vec<String>), Mistakes> {
        let known: Vec<String> = self.keys.iter().map(|key| format!("{}.{}", key.section, key.name)).collect();
        let mut sections: Vec<&str> = self.keys.iter().map(|key| key.section).collect();
        sections.dedup();
        for (section, value) in &self.table {
            let Value::Table(rest) = value else {
                if sections.contains(&section.as_str()) {
                    self.mistakes.push(format!("{section} = {value}: must be a section, [{section}]"));
                    continue;
                }
                let nearest = nearest(section, self.keys.iter().map(|key| key.name)).map(|name| {
                    let key = self.keys.iter().find(|key| key.name == name);
                    format!("{}.{name}", key.map_or("", |key| key.section))
                });
                self.warnings.push(unknown(section, nearest.as_deref()));
                continue;
            };
            if !sections.contains(&section.as_str()) {
                let nearest = nearest(section, sections.iter().copied()).map(|section| format!("[{section}]"));
                self.warnings.push(unknown(&format!("[{section}]"), nearest.as_deref()));
                continue;
            }
            for name in rest.keys() {
                let full = format!("{section}.{name}");
                let nearest = nearest(&full, known.iter().map(String::as_str));
                self.warnings.push(unknown(&full, nearest));
            }
        }
        if self.mistakes.is_empty() { Ok((self.keys, self.warnings)) } else { Err(Mistakes(self.mistakes)) }
    }
}

/// The line that holds the byte at `at`, counted from 1.
fn line_at(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

fn lines(text: &str) -> HashMap<String, usize> {
    let mut lines = HashMap::new();
    let Ok(table) = DeTable::parse(text) else { return lines };
    for (section, keys) in table.get_ref() {
        let DeValue::Table(keys) = keys.get_ref() else { continue };
        for (key, value) in keys {
            let name = format!("{}.{}", section.get_ref(), key.get_ref());
            lines.insert(name.clone(), line_at(text, key.span().start));
            let DeValue::Array(sections) = value.get_ref() else { continue };
            for (number, nested) in sections.iter().enumerate() {
                let DeValue::Table(keys) = nested.get_ref() else { continue };
                for key in keys.keys() {
                    lines.insert(format!("{name}[{number}].{}", key.get_ref()), line_at(text, key.span().start));
                }
            }
        }
    }
    lines
}

/// The warning of what nobody reads.
pub(super) fn unknown(what: &str, nearest: Option<&str>) -> String {
    match nearest {
        Some(nearest) => format!("{what} is not a known setting and is ignored; did you mean {nearest}?"),
        None => format!("{what} is not a known setting and is ignored"),
    }
}

/// The known name that is most alike, where one is.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let rated = known.map(|known| (strsim::jaro_winkler(name, known), known));
    let best = rated.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= ALIKE).then_some(best.1)
}

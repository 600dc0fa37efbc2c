//! Where the configuration is wrong, and in what words it is said.
//!
//! Every problem names the file, the line and the key (or the option of the command line), and
//! shows the line. Source of truth: the spans that the TOML parser keeps.
//! Invariant: a path such as `vm.device[3].line` counts from 0; shown to people it has no number,
//! because the line says which one is meant. Deliberately not here: what is right.

use std::{error::Error, fmt, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// One problem of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    place: Box<Place>,
    message: String,
}

/// Where a problem is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// The file as a whole.
    File(String),
    /// A line of the file.
    Line { file: String, line: usize, key: String, excerpt: String },
    /// An option of the command line.
    Option(&'static str),
}

impl ConfigError {
    /// A problem of the whole file.
    pub(crate) fn of_file(file: &str, message: String) -> Self {
        Self { place: Box::new(Place::File(file.to_owned())), message }
    }

    /// A problem of an option.
    pub(crate) fn of_option(option: &'static str, message: String) -> Self {
        Self { place: Box::new(Place::Option(option)), message }
    }

    /// A problem that the parser found.
    pub(crate) fn of_parser(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let (table, _) = DeTable::parse_recoverable(text);
        let start = error.span().map_or(0, |span| span.start);
        let mut path = Vec::new();
        if !find_offset(table.get_ref(), start, &mut path) {
            path = written_path(text, start);
        }
        let message = error.message().trim_end().replace('\n', ": ");
        Self::of_line(file, text, start, &path.join("."), message)
    }

    /// A problem of the value at `path`, or of the nearest table above that exists.
    pub(crate) fn of_path(file: &str, text: &str, path: &str, message: String) -> Self {
        let (table, _) = DeTable::parse_recoverable(text);
        let start = find_path(table.get_ref(), path).map_or(0, |span| span.start);
        let mut key = String::new();
        let mut number = false;
        for character in path.chars() {
            number = (number || character == '[') && character != ']';
            if !number && character != ']' {
                key.push(character);
            }
        }
        Self::of_line(file, text, start, &key, message)
    }

    fn of_line(file: &str, text: &str, start: usize, key: &str, message: String) -> Self {
        let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count();
        let excerpt = text.lines().nth(line).unwrap_or("").trim_end().to_owned();
        let (file, key) = (file.to_owned(), key.to_owned());
        let place = Place::Line { file, line: line + 1, key, excerpt };
        Self { place: Box::new(place), message }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = &self.message;
        match &*self.place {
            Place::File(file) => write!(formatter, "{file}: {message}"),
            Place::Option(option) => write!(formatter, "{option}: {message}"),
            Place::Line { file, line, key, excerpt } => {
                let colon = if key.is_empty() { "" } else { ": " };
                writeln!(formatter, "{file}:{line}: {key}{colon}{message}")?;
                write!(formatter, "{line:>6} | {excerpt}")
            }
        }
    }
}

impl Error for ConfigError {}

/// The keys that lead to what stands at `offset`; false when nothing does.
fn find_offset(table: &DeTable<'_>, offset: usize, path: &mut Vec<String>) -> bool {
    let mut nearest = None;
    for (key, value) in table {
        path.push(key.get_ref().to_string());
        if in_value(value.get_ref(), offset, path) || holds(&key.span(), offset) {
            return true;
        }
        path.pop();
        if holds(&value.span(), offset) {
            nearest = Some(key.get_ref().to_string());
        }
    }
    let found = nearest.is_some();
    path.extend(nearest);
    found
}

/// The keys as they are written in the line at `offset` and the table header above it: for what
/// the parser could not take into its table.
fn written_path(text: &str, offset: usize) -> Vec<String> {
    let line = text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
    let mut header = None;
    let mut key = None;
    for line in text.lines().take(line + 1) {
        let line = line.trim();
        if line.starts_with('[') {
            header = Some(line.split(']').next().unwrap_or(line).trim_start_matches('['));
            key = None;
        } else {
            key = line.split_once('=').map(|(key, _)| key.trim());
        }
    }
    header.into_iter().chain(key).map(str::to_owned).collect()
}

/// As [`find_offset`], for the tables below a value.
fn in_value(value: &DeValue<'_>, offset: usize, path: &mut Vec<String>) -> bool {
    if let Some(table) = value.as_table() {
        return find_offset(table, offset, path);
    }
    let elements = value.as_array().into_iter().flat_map(|array| array.iter());
    for element in elements {
        if in_value(element.get_ref(), offset, path) || holds(&element.span(), offset) {
            return true;
        }
    }
    false
}

/// Whether the span begins at the offset or goes on beyond it.
fn holds(span: &Range<usize>, offset: usize) -> bool {
    span.start == offset || span.contains(&offset)
}

/// The span of the key at the end of `path`, or of the last part of it that exists.
fn find_path(table: &DeTable<'_>, path: &str) -> Option<Range<usize>> {
    let (step, rest) = path.split_once('.').unwrap_or((path, ""));
    let (name, number) = step.split_once('[').unwrap_or((step, ""));
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == name)?;
    let number: Option<usize> = number.trim_end_matches(']').parse().ok();
    let element = number.and_then(|number| value.get_ref().as_array()?.get(number));
    let span = element.map_or(key.span(), Spanned::span);
    let below = element.unwrap_or(value).get_ref().as_table();
    below.filter(|_| !rest.is_empty()).and_then(|below| find_path(below, rest)).or(Some(span))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[vm]\nname = \"A\"\n\n[[vm.device]]\nkind = \"lan\"\n\n[[vm.device]]\n\
                        kind = \"disk\"\nlist = [\n  \"x\",\n  \"y\",\n]\n";

    #[test]
    fn path_leads_to_its_line() {
        let error = ConfigError::of_path("f.toml", TEXT, "vm.device[1].kind", "wrong".into());
        let shown = error.to_string();
        assert_eq!(shown, "f.toml:8: vm.device.kind: wrong\n     8 | kind = \"disk\"");
    }

    #[test]
    fn absent_key_is_shown_at_its_table() {
        let error = ConfigError::of_path("f.toml", TEXT, "vm.device[0].line", "missing".into());
        assert!(error.to_string().starts_with("f.toml:4: vm.device.line: missing"), "{error}");
    }

    #[test]
    fn offset_leads_to_its_keys() {
        let table = DeTable::parse(TEXT).unwrap();
        for (needle, expected) in [("\"A\"", "vm.name"), ("\"y\"", "vm.device.list")] {
            let mut path = Vec::new();
            let offset = TEXT.find(needle).unwrap();
            assert!(find_offset(table.get_ref(), offset, &mut path));
            assert_eq!(path.join("."), expected);
        }
    }
}

//! Whether the link check names every public function of monitor-core.
//!
//! A function counts as called when a file names it in full: `Type::function`, or `<Type as
//! Trait>::function`, or `function` of a module. It also counts when a macro is called as
//! `name!(Type)` and a macro names `$Type::function`. Of a trait for every `&mut T` it counts for
//! one `T`; the body that a trait gives to a function counts by `Trait::function`.
//!
//! Source of truth: rustdoc's description of the public items in JSON. Invariant: a form of type
//! that is not known here is an error, never a pass. Deliberately not here: whether the arguments
//! are opaque.

use std::{fs, path::Path};

use serde_json::Value;

/// Traits whose functions need no call of their own, each with its reason.
const TRAITS_LEFT_OUT: [&str; 6] = [
    // For developers: the core does not use it, and the library's own form for text may panic.
    "Debug",
    // Of bitflags, whose functions are all called by their inherent names.
    "Flags",
    "PublicFlags",
    // Called by the drivers for each port.
    "VmPorts",
    // Forwards a type, no function.
    "ErrorType",
    // Has one function with a default, of the library.
    "Error",
];

/// The owner of a block for every mutable reference.
const ANY_BORROWED: &str = "&mut T";

pub(crate) fn report(description: &str, exceptions: &str, folder: &str) -> Result<String, String> {
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let description: Value = serde_json::from_str(&read(description)?)
        .map_err(|error| format!("{description}: {error}"))?;
    let functions = functions(&description)?;
    let mut source = String::new();
    collect(Path::new(folder), &mut source)?;
    let exceptions = read(exceptions)?;
    let excused: Vec<&str> = exceptions
        .lines()
        .map(|line| line.split('#').next().unwrap_or(line).trim())
        .filter(|name| !name.is_empty())
        .collect();
    judge(&functions, &source, &excused)
}

fn judge(functions: &[String], source: &str, excused: &[&str]) -> Result<String, String> {
    let needless: Vec<&&str> = excused
        .iter()
        .filter(|name| !functions.iter().any(|function| function == **name))
        .collect();
    if !needless.is_empty() {
        return Err(format!("exceptions for what is not there: {needless:?}"));
    }
    let missing: Vec<&str> = functions
        .iter()
        .map(String::as_str)
        .filter(|function| !excused.contains(function) && !is_named(function, source))
        .collect();
    if !missing.is_empty() {
        let list: String = missing.iter().map(|function| format!("  {function}\n")).collect();
        return Err(format!("the link check does not call:\n{list}"));
    }
    let called = functions.len() - excused.len();
    Ok(format!("all {called} public functions are called, {} are excused\n", excused.len()))
}

/// Whether the source, which is tight, names the function.
fn is_named(function: &str, source: &str) -> bool {
    let of_trait = function.strip_prefix('<').and_then(|rest| rest.split_once(" as "));
    if let Some((owner, rest)) = of_trait {
        let generic = rest.replace(">::", "<");
        let generic = generic.split_inclusive('<').next().unwrap_or(rest);
        return match rest {
            "Display>::fmt" => is_shown(owner, source),
            _ if owner == ANY_BORROWED => is_of_borrowed(rest, source),
            _ => {
                is_of(owner, source, |owner| format!("<{owner} as {rest}"))
                    || is_of(owner, source, |owner| format!("<{owner} as {generic}"))
            }
        };
    }
    match function.split_once("::") {
        Some((owner, name)) => is_of(owner, source, |owner| format!("{owner}::{name}")),
        None => occurs(function, source),
    }
}

/// Whether the source has the name for this owner, or for a macro's type that it is called with.
fn is_of(owner: &str, source: &str, name: impl Fn(&str) -> String) -> bool {
    let has_macro = source.contains(&format!("!({owner})"));
    occurs(&name(owner), source) || (has_macro && occurs(&name("$Type"), source))
}

/// Whether the source has the name for a mutable reference to any type.
fn is_of_borrowed(rest: &str, source: &str) -> bool {
    let name = format!(" as {rest}");
    source.match_indices(&name).any(|(start, _)| {
        let (before, after) = (&source[..start], &source[start + name.len()..]);
        let is_borrowed = before.trim_end_matches(is_of_word).ends_with("<&mut ");
        is_borrowed && !before.ends_with("<&mut ") && !after.starts_with(is_of_word)
    })
}

/// Whether a value of the type is written as its `Display` has it.
fn is_shown(owner: &str, source: &str) -> bool {
    let shown = format!("shows!({owner}");
    source.contains(&format!("{shown})"))
        || source.contains(&format!("{shown}<"))
        || (source.contains(&format!("!({owner})")) && source.contains("shows!($Type)"))
}

/// Whether the name occurs as a whole.
fn occurs(name: &str, source: &str) -> bool {
    let goes_on =
        |before: &str, after: &str| before.ends_with(is_of_word) && after.starts_with(is_of_word);
    source.match_indices(name).any(|(start, _)| {
        let (before, rest) = source.split_at(start);
        !goes_on(before, name) && !goes_on(name, &rest[name.len()..])
    })
}

/// Adds all Rust files of a folder, without comments and blanks.
fn collect(folder: &Path, source: &mut String) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            collect(&path, source)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).map_err(failed)?;
            tighten(&text, source);
        }
    }
    Ok(())
}

/// Adds Rust text without comments, and without blanks but those between two words.
fn tighten(text: &str, source: &mut String) {
    for line in text.lines().map(|line| line.split("//").next().unwrap_or(line)) {
        for word in line.split_whitespace() {
            if source.ends_with(is_of_word) && word.starts_with(is_of_word) {
                source.push(' ');
            }
            source.push_str(word);
        }
    }
}

fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The public functions: `Type::function`, `<Type as Trait>::function`, `function`.
fn functions(description: &Value) -> Result<Vec<String>, String> {
    let index = description["index"].as_object().ok_or("the description has no index")?;
    let item = |id: &Value| index.get(&id.to_string());
    let mut functions = Vec::new();
    for entry in index.values() {
        let inner = &entry["inner"];
        let names = |ids: &Value, is_all: bool| -> Vec<String> {
            ids.as_array()
                .into_iter()
                .flatten()
                .filter_map(item)
                .filter(|item| item["inner"].get("function").is_some())
                .filter(|item| is_all || item["visibility"] == "public")
                .filter_map(|item| item["name"].as_str().map(str::to_owned))
                .collect()
        };
        if let Some(module) = inner.get("module") {
            functions.extend(names(&module["items"], false));
        } else if let Some(given) = inner.get("trait") {
            let of = entry["name"].as_str().unwrap_or_default();
            functions.extend(with_body(&given["items"], index).map(|name| format!("{of}::{name}")));
        } else if let Some(block) = inner.get("impl").filter(|block| is_ours(entry, block)) {
            match last_segment(&block["trait"]["path"]) {
                None => {
                    let owner = owner(block)?;
                    let names = names(&block["items"], false).into_iter();
                    functions.extend(names.map(|name| format!("{owner}::{name}")));
                }
                Some(of) if TRAITS_LEFT_OUT.contains(&of) => {}
                Some(of) => {
                    let owner = owner(block)?;
                    let names = names(&block["items"], true).into_iter();
                    functions.extend(names.map(|name| format!("<{owner} as {of}>::{name}")));
                }
            }
        }
        if let Some(path) = reexported(inner, index) {
            functions.push(path);
        }
    }
    functions.sort();
    functions.dedup();
    if functions.is_empty() {
        Err("the description has no functions".into())
    } else {
        Ok(functions)
    }
}

/// The type that a block is for.
fn owner(block: &Value) -> Result<&str, String> {
    let of = &block["for"];
    let borrowed = &of["borrowed_ref"];
    if borrowed["is_mutable"] == true && borrowed["type"]["generic"].is_string() {
        return Ok(ANY_BORROWED);
    }
    last_segment(&of["resolved_path"]["path"])
        .ok_or_else(|| format!("nothing decides what is called of this form of type: {of}"))
}

/// The names of the functions that have a body, of a trait's items.
fn with_body<'i>(
    items: &'i Value,
    index: &'i serde_json::Map<String, Value>,
) -> impl Iterator<Item = &'i str> {
    let items = items.as_array().into_iter().flatten();
    items
        .filter_map(|id| index.get(&id.to_string()))
        .filter(|item| item["inner"]["function"]["has_body"] == true)
        .filter_map(|item| item["name"].as_str())
}

/// The name of a function that a module exports again from a private one.
fn reexported(inner: &Value, index: &serde_json::Map<String, Value>) -> Option<String> {
    let target = index.get(&inner.get("use")?["id"].to_string())?;
    target["inner"].get("function")?;
    target["name"].as_str().map(str::to_owned)
}

/// Whether somebody has written this block: it is not derived, and not of the library.
fn is_ours(entry: &Value, block: &Value) -> bool {
    let is_derived = entry["attrs"].to_string().contains("automatically_derived");
    let is_synthetic = block["is_synthetic"] == true || !block["blanket_impl"].is_null();
    !is_derived && !is_synthetic
}

fn last_segment(path: &Value) -> Option<&str> {
    path.as_str()?.rsplit("::").next()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SOURCE: &str = "Lease::free();shows!(Phase);shows!(Kind<A>);flags!(Set);$Type::all();\
        <$Type as Not>::not(a);<$Type as Extend<$Type>>::extend;for lease in Lease::all()";

    #[test]
    fn whole_names_count() {
        assert!(is_named("Lease::free", SOURCE));
        assert!(!is_named("Lease::fre", SOURCE));
        assert!(!is_named("ease::free", SOURCE));
        assert!(is_named("Lease::all", SOURCE));
    }

    #[test]
    fn macro_calls_for_its_type() {
        assert!(is_named("Set::all", SOURCE));
        assert!(is_named("<Set as Not>::not", SOURCE));
        assert!(is_named("<Set as Extend>::extend", SOURCE));
        assert!(!is_named("Set::none", SOURCE));
        assert!(is_named("<Phase as Display>::fmt", SOURCE));
        assert!(is_named("<Kind as Display>::fmt", SOURCE));
        assert!(!is_named("<Set as Display>::fmt", SOURCE));
    }

    #[test]
    fn a_trait_of_every_mutable_reference_is_called_for_one() {
        let source = "<&mut Opaque as Link>::try_send(a);<Opaque as Link>::try_receive(b);\
            <&mut as Link>::reconnect";
        let of_all = |name: &str| format!("<{ANY_BORROWED} as Link>::{name}");
        assert!(is_named(&of_all("try_send"), source));
        for name in ["try_receive", "try_sen", "reconnect"] {
            assert!(!is_named(&of_all(name), source), "{name}");
        }
    }

    /// The functions of a crate with one block for this type, which has one function.
    fn functions_of(of: &Value) -> Result<Vec<String>, String> {
        functions(&json!({ "index": {
            "1": { "attrs": [], "inner": { "impl": {
                "for": of, "trait": { "path": "Link" }, "items": [2],
                "is_synthetic": false, "blanket_impl": null,
            } } },
            "2": { "name": "line", "inner": { "function": { "has_body": true } } },
        } }))
    }

    #[test]
    fn what_cannot_be_decided_is_an_error() {
        let generic = json!({ "generic": "T" });
        let borrowed =
            |is_mutable, to| json!({ "borrowed_ref": { "is_mutable": is_mutable, "type": to } });
        let path = json!({ "resolved_path": { "path": "wire::Line" } });
        let named = |owner: &str| Ok(vec![format!("<{owner} as Link>::line")]);
        assert_eq!(functions_of(&path), named("Line"));
        assert_eq!(functions_of(&borrowed(true, &generic)), named(ANY_BORROWED));
        let tuple = json!({ "tuple": [path] });
        for of in [&tuple, &generic, &borrowed(false, &generic), &borrowed(true, &path)] {
            assert!(functions_of(of).unwrap_err().contains("this form of type"), "{of}");
        }
    }

    #[test]
    fn a_body_that_a_trait_gives_is_a_function_of_its_own() {
        let given = json!({ "index": {
            "1": { "name": "Keys", "inner": { "trait": { "items": [2, 3] } } },
            "2": { "name": "has_keys", "inner": { "function": { "has_body": true } } },
            "3": { "name": "keys_out", "inner": { "function": { "has_body": false } } },
        } });
        assert_eq!(functions(&given), Ok(vec!["Keys::has_keys".to_owned()]));
    }

    #[test]
    fn only_blanks_between_words_stay() {
        let mut source = String::new();
        tighten("for a in b :: c (\n    <d as E> ) // Why.\n", &mut source);
        assert_eq!(source, "for a in b::c(<d as E>)");
    }

    #[test]
    fn missing_function_and_needless_exception_are_errors() {
        let functions = ["Lease::free".to_owned(), "Lease::end".to_owned()];
        assert!(judge(&functions, SOURCE, &[]).unwrap_err().contains("Lease::end"));
        assert!(judge(&functions, SOURCE, &["Lease::end"]).is_ok());
        assert!(judge(&functions, SOURCE, &["Lease::end", "Lease::begin"]).is_err());
    }
}

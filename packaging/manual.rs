//! Writes the manual pages and the shells' completions into a folder: from the command line's definition, and
//! session-store.toml(5) from the configuration's keys and from what `config.toml` says of each.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap_complete::Shell;
use session_store::cli;
use session_store::config::Loaded;

fn main() {
    let to = PathBuf::from(std::env::args_os().nth(1).expect("usage: manual FOLDER"));
    fs::create_dir_all(&to).expect("the folder");
    let command = || cli::definition().disable_help_subcommand(true);
    clap_mangen::generate_to(command(), &to).expect("manual pages");
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command(), "session-store", &to).expect("completions");
    }
    let keys = keys(include_str!("../config.toml"));
    fs::write(to.join("session-store.toml.5"), keys).expect("session-store.toml.5");
    settings(include_str!("../config.toml"), &to);
}

/// `config.toml`, as the package installs it: every key out of force, but for the places of the data.
fn settings(text: &str, to: &Path) {
    let places = HashMap::from([
        (("database", "path"), "/var/lib/session-store/session-store.redb"),
        (("frames", "storage_path"), "/var/lib/session-store/frames"),
        (("mediamtx", "spool_path"), "/var/lib/session-store/spool"),
        (("tracks", "storage_path"), "/var/lib/session-media/tracks"),
    ]);
    let mut section = "";
    let mut settings = String::from(
        "# The settings of session-store. Each line that is commented out shows a default; `man session-store.toml` says more.\n\
         # To try: session-store --config /etc/session-store/config.toml check-config. To take over: systemctl reload session-store.\n\
         # The address comes from session-store.socket, not from host and port: systemctl edit session-store.socket.\n",
    );
    let mut set = 0;
    for line in text.lines().skip_while(|line| line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        }
        let key = line.split_once(" = ").map(|(name, _)| (section, name.trim_start_matches("# ")));
        let line = match (key, key.and_then(|key| places.get(&key))) {
            (Some((_, name)), Some(place)) => {
                set += 1;
                let note = line.split_once(" # ").map_or("", |(_, note)| note);
                format!("{name} = \"{place}\" # {note}")
            }
            (Some(_), None) if !line.starts_with('#') => format!("# {line}"),
            _ => line.to_owned(),
        };
        settings.push_str(&line);
        settings.push('\n');
    }
    assert_eq!(set, places.len(), "every place is set");
    Loaded::parse(&settings).expect("the packaged settings load");
    fs::write(to.join("config.toml"), settings).expect("config.toml");
}

/// session-store.toml(5).
fn keys(text: &str) -> String {
    let loaded = Loaded::parse("").expect("the defaults load");
    let notes = notes(text);
    let mut page = String::from(
        ".TH session-store.toml 5 \"\" \"session-store\"\n.SH NAME\nsession-store.toml \\- settings of session-store\n.SH DESCRIPTION\n\
         The settings are a TOML file. It is looked for in this order: \\fB\\-\\-config\\fR, the variable \
         \\fBSESSION_STORE_CONFIG\\fR, \\fIconfig.toml\\fR in the working directory; without one the defaults hold. \
         The service uses \\fI/etc/session\\-store/config.toml\\fR.\n.PP\n\
         Relative paths are relative to the working directory. An unknown key is a warning, a wrong value an error that names its line. \
         Keys marked with \\(lqreload\\(rq change on SIGHUP (\\fBsystemctl reload session\\-store\\fR), all others on a restart.\n",
    );
    let mut section = "";
    for key in &loaded.keys {
        if key.section != section {
            section = key.section;
            page.push_str(&format!(".SH [{}]\n", escape(section)));
        }
        let default = key.default.as_ref().map_or("not set".to_owned(), ToString::to_string);
        let note = notes.get(&(section.to_owned(), key.name.to_owned())).map_or("", String::as_str);
        let live = if key.is_live() { "; reload" } else { "" };
        page.push_str(&format!(
            ".TP\n\\fB{}\\fR = {}\n{}.\nAllowed: {}{live}.\n",
            escape(key.name),
            escape(&default),
            escape(note),
            escape(&key.allowed)
        ));
    }
    page.push_str(".SH SEE ALSO\n.BR session\\-store (1),\n.BR session\\-store\\-check\\-config (1)\n");
    page
}

/// What `config.toml` says of each key.
fn notes(text: &str) -> HashMap<(String, String), String> {
    let mut section = "";
    let mut notes = HashMap::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        } else if let Some((name, rest)) = line.split_once(" = ")
            && let Some((_, note)) = rest.split_once(" # ")
        {
            notes.insert((section.to_owned(), name.trim_start_matches("# ").to_owned()), note.to_owned());
        }
    }
    notes
}

/// Text for roff: a hyphen that is no dash, and no control line.
fn escape(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-");
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}

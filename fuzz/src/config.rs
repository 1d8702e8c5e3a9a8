//! `config.toml`.

use session_store::config::Loaded;

use crate::assert_sentence;

/// Reads `data` as a configuration.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let loaded = match Loaded::parse(text) {
        Ok(loaded) => loaded,
        Err(mistakes) => {
            assert!(!mistakes.0.is_empty(), "refused without a reason");
            let keys = Loaded::parse("").expect("the defaults are fine").keys;
            for mistake in &mistakes.0 {
                let names_a_line =
                    mistake.strip_prefix("line ").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
                let names = |key: &session_store::config::Key| {
                    mistake.starts_with(&format!("{}.{} = ", key.section, key.name))
                        || mistake.starts_with(&format!("{} = ", key.section))
                };
                assert!(names_a_line || keys.iter().any(names), "which line or key? {mistake}");
            }
            return;
        }
    };
    loaded.warnings.iter().for_each(|warning| assert_sentence(warning));
    let server = &loaded.config.server;
    assert!(!server.host.is_empty() && (8..=65_536).contains(&server.max_connections) && server.body_memory_bytes > 0);
    // What is in force can be saved and loaded: secrets aside, it is the same.
    let effective = loaded.effective();
    let again = Loaded::parse(&effective).unwrap_or_else(|mistakes| panic!("{effective}\nis refused: {mistakes}"));
    assert_eq!(again.effective(), effective, "loaded again it is another configuration");
}

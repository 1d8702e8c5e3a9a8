//! What of a setting's value may be shown, by `check-config` and in the log.

use toml::Value;

/// What of a value may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrecy {
    /// All of it.
    Open,
    /// Nothing.
    Secret,
    /// A URL whose user and password are masked.
    Url,
}

impl Secrecy {
    /// `value` as TOML, masked as far as it must be.
    pub fn shown(self, value: &Value) -> String {
        match (self, value) {
            (Self::Open, value) => value.to_string(),
            (Self::Url, Value::String(url)) => Value::from(without_user_info(url)).to_string(),
            _ => Value::from("***").to_string(),
        }
    }
}

/// `url` without what stands between `//` and the last `@` of its host part.
fn without_user_info(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "***".to_owned() };
    // A password may hold any character, a slash too: all up to the last @ is masked.
    let (user, host) = rest.rsplit_once('@').map_or(("", rest), |(_, host)| ("***@", host));
    // libpq takes a password among the parameters too.
    match host.split_once('?') {
        Some((host, parameters)) if parameters.to_ascii_lowercase().contains("password") => {
            format!("{scheme}://{user}{host}?***")
        }
        _ => format!("{scheme}://{user}{host}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_with_any_character_is_masked() {
        for url in ["postgres://user:p@ss/w:rd@host:5432/db", "postgres://user@host:5432/db", "postgres://:x@host:5432/db"] {
            assert_eq!(without_user_info(url), "postgres://***@host:5432/db");
        }
        assert_eq!(without_user_info("postgres://host/db"), "postgres://host/db");
        assert_eq!(without_user_info("postgres://host/db?password=secret"), "postgres://host/db?***");
        assert_eq!(without_user_info("host=h password=secret"), "***");
    }
}

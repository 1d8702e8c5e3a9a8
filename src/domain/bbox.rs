//! A box around an object: `{"x","y","w","h"}`, normalised or in pixels, as the client sent it.

use serde::Deserialize;
use serde_json::Number;
use serde_json::value::RawValue;

use super::Invalid;

#[derive(Deserialize)]
struct Bbox<'a> {
    #[serde(borrow)]
    x: Option<&'a RawValue>,
    #[serde(borrow)]
    y: Option<&'a RawValue>,
    #[serde(borrow)]
    w: Option<&'a RawValue>,
    #[serde(borrow)]
    h: Option<&'a RawValue>,
}

/// Checks the JSON text of `field` and returns it with its four numbers alone, in their order.
/// Whole numbers stay whole.
pub fn clean_bbox(field: &str, text: &str) -> Result<String, Invalid> {
    // A JSON array would be read as the fields in their order.
    let bbox = if text.starts_with('{') { serde_json::from_str::<Bbox>(text).ok() } else { None };
    let Some(bbox) = bbox else {
        return Err(Invalid::field(field, "must be an object with the numbers x, y, w and h"));
    };
    let number = |name: &str, value: Option<&RawValue>| -> Result<Number, Invalid> {
        let number: Option<Number> = value.and_then(|value| serde_json::from_str(value.get()).ok());
        let number = number.ok_or_else(|| Invalid::field(field, format_args!("must have a number {name}")))?;
        let is_size = name == "w" || name == "h";
        if is_size && number.as_f64().is_some_and(|value| value < 0.0) {
            return Err(Invalid::field(field, format_args!("must not have a negative {name}")));
        }
        Ok(number)
    };
    let (x, y, w, h) = (number("x", bbox.x)?, number("y", bbox.y)?, number("w", bbox.w)?, number("h", bbox.h)?);
    Ok(format!("{{\"x\":{x},\"y\":{y},\"w\":{w},\"h\":{h}}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_numbers_keep_their_units_and_all_else_is_dropped() {
        let text = r#"{"h":40, "w":0.30, "note":"x", "x":-5, "y":1e2}"#;
        assert_eq!(clean_bbox("bbox", text), Ok(r#"{"x":-5,"y":100.0,"w":0.3,"h":40}"#.to_owned()));
    }

    /// serde_json reads a number only nearly right unless told otherwise: 1.8e25 became 1.7999999999999999e25, and a
    /// box or a confidence moved by one last digit with each export and import.
    #[test]
    fn a_number_comes_back_to_its_last_digit() {
        for number in ["1.8e+25", "0.30000000000000004", "5e-324", "1.7976931348623157e+308"] {
            let text = format!(r#"{{"x":{number},"y":0,"w":0,"h":0}}"#);
            assert_eq!(clean_bbox("bbox", &text), Ok(text));
        }
    }

    #[test]
    fn a_box_that_is_none_is_refused() {
        for text in [
            "null",
            "[1,2,3,4]",
            "{}",
            r#"{"x":1,"y":1,"w":1}"#,
            r#"{"x":1,"y":1,"w":-1,"h":1}"#,
            r#"{"x":"1","y":1,"w":1,"h":1}"#,
            r#"{"x":1e999,"y":1,"w":1,"h":1}"#,
            r#"{"x":null,"y":1,"w":1,"h":1}"#,
        ] {
            assert!(clean_bbox("bbox", text).is_err(), "{text}");
        }
    }
}

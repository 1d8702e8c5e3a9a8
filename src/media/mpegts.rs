use crate::domain::measured::Unmeasurable;
pub fn measure(_: &std::fs::File, _: u64) -> std::io::Result<Result<crate::domain::measured::Measured, Unmeasurable>> {
    Ok(Err(Unmeasurable(String::new())))
}

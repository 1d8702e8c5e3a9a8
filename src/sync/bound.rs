//! Values on their way into statements.

use std::error::Error;

use bytes::{BufMut as _, BytesMut};
use tokio_postgres::types::{IsNull, ToSql, Type, accepts, to_sql_checked};

use crate::domain::time::Timestamp;

/// Microseconds from 1970 to 2000, where Postgres begins to count.
const TO_2000: i64 = 946_684_800_000_000;

/// A moment as TIMESTAMPTZ.
#[derive(Debug, Clone, Copy)]
pub struct Moment(pub Timestamp);

impl ToSql for Moment {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_i64(self.0.micros() - TO_2000);
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

//! `/retention/plan`.

use http::StatusCode;

use super::Api;
use super::query::Query;
use super::reply::{Answer, Reply};

/// `GET /retention/plan`.
pub async fn plan(api: &Api, query: &str) -> Answer {
    let limit = Query::parse(query).changes_limit();
    Reply::json(StatusCode::OK, &api.service.retention_plan(limit).await?)
}

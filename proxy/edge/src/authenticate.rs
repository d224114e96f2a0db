//! Who is asking: a verified client certificate or an opaque token, looked up in the table of this moment. Neither
//! carries authority; a Credential that was deleted, or has run out, is worth nothing from the next request on.

use std::sync::Arc;

use hawser_identity::token;
use hawser_kube::{status::Status, upgrade};
use hawser_policy::{Subject, Table};
use http::{HeaderMap, header};

use crate::conn::Conn;

/// The subject behind this request.
///
/// # Errors
/// A 401 that says what is wrong with the credential. Certificate and token of different users are refused, because
/// the client cannot know which one would count.
pub(crate) fn authenticate(conn: &Conn, table: &Table, headers: &HeaderMap) -> Result<Subject, Status> {
    let by_certificate = match &conn.certificate {
        None => None,
        Some(Ok(identity)) => Some(certificate(conn, table, identity)?),
        Some(Err(error)) => return Err(Status::unauthorized(error.to_string())),
    };
    let by_token = match presented_token(headers)? {
        None => None,
        Some(text) => Some(opaque_token(conn, table, &text)?),
    };
    match (by_certificate, by_token) {
        (Some(one), Some(other)) if one.user != other.user => Err(Status::unauthorized(format!(
            "the client certificate is of {} and the token of {}; send one of them",
            one.user, other.user
        ))),
        (Some(subject), _) | (None, Some(subject)) => Ok(subject),
        (None, None) => Err(Status::unauthorized(
            "no credential was presented; use the kubeconfig that `hawser kubeconfig` made for you",
        )),
    }
}

fn certificate(
    conn: &Conn,
    table: &Table,
    identity: &hawser_identity::client::ClientIdentity,
) -> Result<Subject, Status> {
    let now = conn.worker.shared.clock.wall();
    if identity.not_after < now {
        return Err(Status::unauthorized(format!(
            "the client certificate expired at {}; ask for a new kubeconfig",
            identity.not_after
        )));
    }
    let Some(entry) = table.credential(&identity.credential) else {
        return Err(deleted(&identity.credential));
    };
    if *entry.user != *identity.user {
        return Err(Status::unauthorized(format!(
            "credential {} is not {}'s; ask for a new kubeconfig",
            identity.credential, identity.user
        )));
    }
    live(entry.expires, now)?;
    Ok(Subject { user: Arc::clone(&entry.user), credential: identity.credential.as_str().into() })
}

fn opaque_token(conn: &Conn, table: &Table, text: &str) -> Result<Subject, Status> {
    let unknown =
        || Status::unauthorized("the bearer token is not one of Hawser's; ask for a new kubeconfig");
    let (id, _secret) = token::parse(text).ok_or_else(unknown)?;
    let entry = table.credential(id).ok_or_else(|| deleted(id))?;
    if !entry.token_sha256.as_ref().is_some_and(|hash| token::matches(text, hash)) {
        return Err(unknown());
    }
    live(entry.expires, conn.worker.shared.clock.wall())?;
    Ok(Subject { user: Arc::clone(&entry.user), credential: id.into() })
}

fn deleted(id: &str) -> Status {
    Status::unauthorized(format!("credential {id} was withdrawn; ask for a new kubeconfig"))
}

fn live(expires: Option<jiff::Timestamp>, now: jiff::Timestamp) -> Result<(), Status> {
    match expires {
        Some(at) if at <= now => {
            Err(Status::unauthorized(format!("the credential expired at {at}; ask for a new kubeconfig")))
        }
        Some(_) | None => Ok(()),
    }
}

/// The bearer token of the request (RFC 6750: scheme in any case; or, from browsers, in `Sec-WebSocket-Protocol`).
fn presented_token(headers: &HeaderMap) -> Result<Option<String>, Status> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return upgrade::websocket_bearer(headers) };
    if values.next().is_some() {
        return Err(Status::unauthorized("more than one Authorization header"));
    }
    let text =
        value.to_str().map_err(|_not_text| Status::unauthorized("the Authorization header is not text"))?;
    let mut words = text.split_ascii_whitespace();
    match (words.next(), words.next()) {
        // As in a kube-apiserver, an empty token is none.
        (Some(scheme), token) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.map(str::to_owned)),
        (Some(scheme), _) => Err(Status::unauthorized(format!(
            "Authorization scheme {scheme:?} is not supported; send a bearer token or a client certificate"
        ))),
        (None, _) => Ok(None),
    }
}

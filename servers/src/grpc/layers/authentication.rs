//! Who calls, told by a signed token (JWT) in `authorization: Bearer ...`. It pays with a check of
//! the signature a call: a microsecond for HS256, tens of them for public keys.
//!
//! A token that is missing, wrong or expired is UNAUTHENTICATED; a good one that was made for
//! somebody else, or does not allow what is asked, is `PERMISSION_DENIED`. Nothing tells more than
//! that: no part of a token is in an answer or in the log.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use http::{HeaderMap, Request, Response, header};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, Validation};
use serde::Deserialize;
use tonic::codegen::Service;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tower_layer::Layer;

use super::Answer;
use crate::grpc::errors::DOMAIN;

/// How far the clocks of whoever makes tokens and of this server may be apart.
const LEEWAY_S: u64 = 30;
/// Those who look after a server have no tokens, and learn nothing secret.
const OPEN_SERVICES: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// The layer; clones share the key.
#[derive(Clone)]
pub(in crate::grpc) struct Authentication(Arc<Rules>);

/// What a token must be.
pub(in crate::grpc) struct Rules {
    key: DecodingKey,
    validation: Validation,
    audience: Option<String>,
    scope: Option<String>,
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authentication(..)") // the key may be a secret
    }
}

/// Whom a token names: in a request's extensions, where authentication is on.
#[derive(Clone, Debug)]
pub(super) struct Subject(pub(super) Arc<str>);

/// What is read of a token beside what its check reads.
#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    aud: Option<Audience>,
    /// Words with spaces between them (RFC 8693, 4.2).
    #[serde(default)]
    scope: String,
}

/// One name, or several (RFC 7519, 4.1.3).
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Any(Vec<String>),
}

impl Authentication {
    pub(super) fn new(
        key: DecodingKey,
        algorithm: jsonwebtoken::Algorithm,
        audience: Option<&str>,
        issuer: Option<&str>,
        scope: Option<&str>,
    ) -> Self {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY_S;
        validation.validate_nbf = true;
        validation.validate_aud = false; // it is looked at when all else is right
        if let Some(issuer) = issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        let [audience, scope] = [audience, scope].map(|word| word.map(str::to_owned));
        Self(Arc::new(Rules { key, validation, audience, scope }))
    }
}

impl Rules {
    /// Lets a call in, or says why not. The token itself goes no further.
    fn admit<B>(&self, request: &mut Request<B>) -> Result<(), Status> {
        let service = request.uri().path().split('/').nth(1).unwrap_or_default();
        if OPEN_SERVICES.contains(&service) {
            return Ok(());
        }
        let claims = self.check(bearer(request.headers())?)?;
        request.headers_mut().remove(header::AUTHORIZATION);
        if let Some(subject) = claims.sub {
            request.extensions_mut().insert(Subject(subject.into()));
        }
        Ok(())
    }

    fn check(&self, token: &str) -> Result<Claims, Status> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation);
        let claims = claims.map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature => unknown("TOKEN_EXPIRED", "the token has expired"),
            ErrorKind::ImmatureSignature => unknown("TOKEN_NOT_YET", "the token is not valid yet"),
            _ => unknown("TOKEN_INVALID", "the token is not valid"),
        })?;
        let claims = claims.claims;
        if !self.is_meant(claims.aud.as_ref()) {
            let why = "the token was made for somebody else";
            return Err(refusal(Code::PermissionDenied, "AUDIENCE_WRONG", why));
        }
        match &self.scope {
            Some(scope) if !claims.scope.split(' ').any(|word| word == scope) => {
                let why = format!("the token does not have the scope {scope}");
                Err(refusal(Code::PermissionDenied, "SCOPE_MISSING", &why))
            }
            _ => Ok(claims),
        }
    }

    /// Whether a token is for this server: where none is named, it may be for anybody's.
    fn is_meant(&self, named: Option<&Audience>) -> bool {
        match (&self.audience, named) {
            (None, None) => true,
            (Some(us), Some(Audience::One(name))) => us == name,
            (Some(us), Some(Audience::Any(several))) => several.contains(us),
            _ => false,
        }
    }
}

/// The one token of a call.
fn bearer(headers: &HeaderMap) -> Result<&str, Status> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let missing = || unknown("TOKEN_MISSING", "a token is needed: authorization: Bearer TOKEN");
    let value = values.next().ok_or_else(missing)?;
    let (scheme, token) =
        value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") || values.next().is_some() {
        return Err(missing());
    }
    Ok(token.trim())
}

fn unknown(reason: &str, why: &str) -> Status {
    refusal(Code::Unauthenticated, reason, why)
}

fn refusal(code: Code, reason: &str, why: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, []);
    Status::with_error_details(code, why, details)
}

/// A service that knows who calls.
#[derive(Clone)]
pub(in crate::grpc) struct Authenticated<S> {
    rules: Arc<Rules>,
    inner: S,
}

impl<S> Layer<S> for Authentication {
    type Service = Authenticated<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Authenticated { rules: self.0.clone(), inner }
    }
}

impl<S, B, R> Service<Request<B>> for Authenticated<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible, Future: Unpin>,
    S: Clone + Unpin,
    B: Unpin,
    R: Answer,
{
    type Response = Response<R>;
    type Error = Infallible;
    type Future = Authenticating<S, S::Future, B>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Authenticating::Asked(Some((self.rules.clone(), self.inner.clone(), request)))
    }
}

/// A call before and after its token was looked at: in its own task, where a signature holds up
/// nobody else of its connection.
#[allow(clippy::large_enum_variant)] // a call is one for a moment; a box would cost each of them
pub(in crate::grpc) enum Authenticating<S, F, B> {
    Asked(Option<(Arc<Rules>, S, Request<B>)>),
    Answering(F),
}

impl<S, B, R> Future for Authenticating<S, S::Future, B>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible, Future: Unpin> + Unpin,
    B: Unpin,
    R: Answer,
{
    type Output = Result<Response<R>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        if let Self::Asked(asked) = &mut *self {
            let (rules, mut inner, mut request) =
                asked.take().expect("it is not polled after its end");
            if let Err(status) = rules.admit(&mut request) {
                return Poll::Ready(Ok(status.into_http()));
            }
            *self = Self::Answering(inner.call(request));
        }
        let Self::Answering(answer) = &mut *self else { unreachable!("it was asked above") };
        Pin::new(answer).poll(task)
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header, get_current_timestamp};
    use serde_json::{Value, json};

    use super::super::stub::{Does, Stub, run, status};
    use super::*;

    const SECRET: &[u8] = b"a secret that is long enough, and known to this test alone";

    fn layer(audience: Option<&str>, issuer: Option<&str>, scope: Option<&str>) -> Authentication {
        let key = DecodingKey::from_secret(SECRET);
        Authentication::new(key, jsonwebtoken::Algorithm::HS256, audience, issuer, scope)
    }

    /// Claims of a token that has an hour left, and `more`.
    fn claims(more: Value) -> Value {
        let mut claims = json!({ "sub": "ada", "exp": get_current_timestamp() + 3600 });
        let Value::Object(more) = more else { panic!("an object") };
        claims.as_object_mut().unwrap().extend(more);
        claims
    }

    fn token(claims: &Value) -> String {
        let key = EncodingKey::from_secret(SECRET);
        jsonwebtoken::encode(&Header::default(), claims, &key).unwrap()
    }

    fn called(layer: &Authentication, path: &str, headers: &[&str]) -> (Option<Code>, String) {
        let stub = Stub::that(Does::Answers);
        let mut request = Request::builder().uri(path);
        for header in headers {
            request = request.header(header::AUTHORIZATION, *header);
        }
        let Ok(response) = run(layer.layer(stub.clone()).call(request.body(()).unwrap()));
        let code = status(response.headers());
        assert_eq!(stub.calls(), usize::from(code.is_none()));
        let said = Status::from_header_map(response.headers());
        let reason = said.and_then(|status| Some(status.get_details_error_info()?.reason));
        (code, reason.unwrap_or_default())
    }

    #[track_caller]
    fn says(layer: &Authentication, claims: &Value, code: Option<Code>, reason: &str) {
        let header = format!("Bearer {}", token(claims));
        assert_eq!(called(layer, "/a.B/C", &[&header]), (code, reason.to_owned()));
    }

    const UNKNOWN: Option<Code> = Some(Code::Unauthenticated);
    const DENIED: Option<Code> = Some(Code::PermissionDenied);

    #[test]
    fn a_token_is_needed_but_for_health_and_reflection() {
        let layer = layer(None, None, None);
        let good = format!("bearer {}", token(&claims(json!({}))));
        for wrong in [&[][..], &["Basic YTpi"], &["Bearer"], &["token"], &[&good, &good]] {
            assert_eq!(called(&layer, "/a.B/C", wrong), (UNKNOWN, "TOKEN_MISSING".to_owned()));
        }
        assert_eq!(called(&layer, "/a.B/C", &[&good]).0, None);
        for service in OPEN_SERVICES {
            assert_eq!(called(&layer, &format!("/{service}/Check"), &[]).0, None, "{service}");
            assert_eq!(called(&layer, &format!("/{service}2/Check"), &[]).0, UNKNOWN);
            assert_eq!(called(&layer, &format!("/a/{service}/Check"), &[]).0, UNKNOWN);
        }
    }

    #[test]
    fn a_token_has_its_time() {
        let layer = layer(None, None, None);
        let now = get_current_timestamp();
        says(&layer, &claims(json!({ "exp": now - 3600 })), UNKNOWN, "TOKEN_EXPIRED");
        says(&layer, &claims(json!({ "exp": now - LEEWAY_S / 2 })), None, "");
        says(&layer, &claims(json!({ "nbf": now + 3600 })), UNKNOWN, "TOKEN_NOT_YET");
        says(&layer, &claims(json!({ "exp": "tomorrow" })), UNKNOWN, "TOKEN_INVALID");
        says(&layer, &json!({ "sub": "ada" }), UNKNOWN, "TOKEN_INVALID");
    }

    #[test]
    fn a_token_is_for_an_audience() {
        let ours = layer(Some("us"), None, None);
        for aud in [json!("us"), json!(["them", "us"])] {
            says(&ours, &claims(json!({ "aud": aud })), None, "");
        }
        for aud in [json!("them"), json!(["them"]), json!([]), Value::Null] {
            says(&ours, &claims(json!({ "aud": aud })), DENIED, "AUDIENCE_WRONG");
        }
        says(&ours, &claims(json!({ "aud": 7 })), UNKNOWN, "TOKEN_INVALID");
        says(&layer(None, None, None), &claims(json!({ "aud": "us" })), DENIED, "AUDIENCE_WRONG");
        let expired = claims(json!({ "aud": "them", "exp": 1 }));
        says(&ours, &expired, UNKNOWN, "TOKEN_EXPIRED");
    }

    #[test]
    fn a_token_has_an_issuer_and_a_scope() {
        let layer = layer(None, Some("them"), Some("call"));
        let with = |iss: &str, scope: &str| claims(json!({ "iss": iss, "scope": scope }));
        says(&layer, &with("them", "read call"), None, "");
        says(&layer, &with("somebody", "call"), UNKNOWN, "TOKEN_INVALID");
        says(&layer, &claims(json!({ "scope": "call" })), UNKNOWN, "TOKEN_INVALID");
        for scope in ["", "recall", "call2"] {
            says(&layer, &with("them", scope), DENIED, "SCOPE_MISSING");
        }
    }

    #[test]
    fn a_signature_is_by_our_key_and_in_our_way() {
        let layer = layer(None, None, None);
        let good = token(&claims(json!({})));
        let (head, _) = good.rsplit_once('.').unwrap();
        let key = EncodingKey::from_secret(b"another secret");
        let other = jsonwebtoken::encode(&Header::default(), &claims(json!({})), &key).unwrap();
        let hs512 = Header::new(jsonwebtoken::Algorithm::HS512);
        let key = EncodingKey::from_secret(SECRET);
        let hs512 = jsonwebtoken::encode(&hs512, &claims(json!({})), &key).unwrap();
        let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", good.split('.').nth(1).unwrap());
        for wrong in [&format!("{head}."), &other, &hs512, &unsigned, &format!("{good}x"), "a.b.c"]
        {
            let header = format!("Bearer {wrong}");
            let said = called(&layer, "/a.B/C", &[&header]);
            assert_eq!(said, (UNKNOWN, "TOKEN_INVALID".to_owned()), "{wrong}");
        }
    }

    #[test]
    fn who_calls_is_known_and_the_token_is_not() {
        let header = format!("Bearer {}", token(&claims(json!({}))));
        let request = Request::builder().uri("/a.B/C").header(header::AUTHORIZATION, header);
        let mut request = request.body(()).unwrap();
        layer(None, None, None).0.admit(&mut request).unwrap();
        assert_eq!(&*request.extensions().get::<Subject>().unwrap().0, "ada");
        assert!(!request.headers().contains_key(header::AUTHORIZATION));
    }
}

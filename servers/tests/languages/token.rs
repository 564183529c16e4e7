//! A token for the examples: a secret that the server reads from a file, and what is signed by it.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use tempfile::TempDir;

const SECRET: &[u8] = b"thirty-two bytes at the very least";
const AUDIENCE: &str = "quintet";
const VALID_FOR: Duration = Duration::from_hours(1);

#[derive(Serialize)]
struct Claims {
    sub: &'static str,
    aud: &'static str,
    exp: u64,
}

/// The flags of a server that wants tokens, and a file that has one.
pub(crate) fn flags(folder: &TempDir) -> (Vec<String>, String) {
    let [secret, token] = ["secret", "token"].map(|name| folder.path().join(name));
    fs::write(&secret, SECRET).unwrap();
    let exp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + VALID_FOR;
    let claims = Claims { sub: "an example", aud: AUDIENCE, exp: exp.as_secs() };
    let key = EncodingKey::from_secret(SECRET);
    fs::write(&token, jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap())
        .unwrap();
    let flags = [
        format!("--jwt-key={}", secret.display()),
        "--jwt-algorithm=hs256".to_owned(),
        format!("--jwt-audience={AUDIENCE}"),
    ];
    (flags.to_vec(), token.display().to_string())
}

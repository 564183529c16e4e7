//! Who is who: a lookup in state that all requests of a server share. It pays with one lock, taken
//! for every lookup and by every model alike: shared state under contention is what it is there
//! to show, so nothing here makes the lock cheaper by sharding, and nothing hides it.

use std::num::NonZeroUsize;
// What is cached never changes: nothing to look for in the order of its counts.
use std::sync::{Arc, LazyLock, PoisonError};

use lru::LruCache;
use prost::Message;

use crate::message::UserResponse;
use crate::sync::Mutex;

/// How many users there are: their ids are 1 to this.
pub const USERS: u32 = 10_000;
/// How many of them the cache holds: a tenth, so that a load over all of them misses it, and one
/// over few does not.
pub const CACHED_MAX: NonZeroUsize = NonZeroUsize::new(1_000).expect("not zero");
/// The digits of the largest id that a user could have.
const ID_DIGITS_MAX: usize = 10;
/// Nobody here is younger.
const AGE_MIN: u32 = 18;
/// Nor as old as this and [`AGE_MIN`] together.
const AGES: u32 = 80;

/// The user of this id, if there is one: what a client checks an answer against.
pub fn user(id: u32) -> Option<UserResponse> {
    (1..=USERS).contains(&id).then(|| {
        let age = i32::try_from(AGE_MIN + id % AGES).unwrap_or(i32::MAX);
        UserResponse { name: format!("User {id}"), age }
    })
}

/// Why there is no answer. None of the texts repeats what the client wrote: it could be long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// Nothing is there.
    #[error("the user id is empty: a decimal number is wanted")]
    Empty,
    /// More digits than any id has.
    #[error("the user id has {0} bytes, above the limit of {ID_DIGITS_MAX}")]
    TooLong(usize),
    /// Something else than a digit.
    #[error("the user id is no decimal number: only the digits 0 to 9 are allowed")]
    NotDecimal,
    /// Two texts would be the same id.
    #[error("the user id begins with 0: a decimal number without leading zeros is wanted")]
    LeadingZero,
    /// A number, and nobody's.
    #[error("there is no user {0}")]
    NotFound(u64),
}

/// The users of one server: all of them in a store, and those asked for last in a cache.
#[derive(Debug)]
pub struct Users {
    cache: Mutex<LruCache<u32, Arc<[u8]>>>,
}

impl Default for Users {
    fn default() -> Self {
        Self { cache: Mutex::new(LruCache::new(CACHED_MAX)) }
    }
}

impl Users {
    /// The user whose id is this text, as an encoded [`UserResponse`].
    ///
    /// # Errors
    /// If the text is no id, or nobody's.
    pub fn find(&self, id: &str) -> Result<Arc<[u8]>, UserError> {
        let number = parse(id)?;
        let not_found = UserError::NotFound(number);
        let id = u32::try_from(number).map_err(|_| not_found)?;
        if let Some(cached) = self.with_cache(|cache| cache.get(&id).cloned()) {
            return Ok(cached);
        }
        // Not under the lock; whoever asks for the same meanwhile finds the same. What is not
        // there is not cached either: it would drive out what is.
        let found: Arc<[u8]> = STORE.find(id).ok_or(not_found)?.into();
        self.with_cache(|cache| cache.put(id, found.clone()));
        Ok(found)
    }

    /// Even to read is to write: the entry moves to the front.
    fn with_cache<T>(&self, work: impl FnOnce(&mut LruCache<u32, Arc<[u8]>>) -> T) -> T {
        // The cache is whole between any two of its operations, whoever panicked.
        work(&mut self.cache.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn parse(id: &str) -> Result<u64, UserError> {
    match id.as_bytes() {
        [] => Err(UserError::Empty),
        bytes if bytes.len() > ID_DIGITS_MAX => Err(UserError::TooLong(bytes.len())),
        bytes if !bytes.iter().all(u8::is_ascii_digit) => Err(UserError::NotDecimal),
        [b'0', _, ..] => Err(UserError::LeadingZero),
        _ => id.parse().map_err(|_| UserError::NotDecimal),
    }
}

/// All users, written once and never changed: one for the whole process.
static STORE: LazyLock<Store> = LazyLock::new(Store::new);

/// Encoded records in one piece, and where each begins, in the order of ids.
struct Store {
    records: Vec<u8>,
    index: Vec<Entry>,
}

struct Entry {
    id: u32,
    end: usize,
}

impl Store {
    fn new() -> Self {
        let (mut records, mut index) = (Vec::new(), Vec::new());
        for (id, user) in (1..=USERS).filter_map(|id| Some((id, user(id)?))) {
            records.extend(user.encode_to_vec());
            index.push(Entry { id, end: records.len() });
        }
        records.shrink_to_fit();
        index.shrink_to_fit();
        Self { records, index }
    }

    fn find(&self, id: u32) -> Option<&[u8]> {
        let at = self.index.binary_search_by_key(&id, |entry| entry.id).ok()?;
        let begin = at.checked_sub(1).map_or(0, |before| self.index[before].end);
        Some(&self.records[begin..self.index[at].end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_is_found_and_is_their_own() {
        let users = Users::default();
        // The second time they are cached, or driven out by those after them.
        for id in (1..=USERS).chain(1..=USERS).chain([USERS, USERS]) {
            let found = users.find(&id.to_string()).unwrap();
            assert_eq!(UserResponse::decode(&*found).ok(), user(id), "{id}");
        }
        assert_eq!(user(42), Some(UserResponse { name: "User 42".to_owned(), age: 60 }));
    }

    #[test]
    fn those_asked_for_last_are_cached_and_no_more() {
        let users = Users::default();
        let all = u32::try_from(CACHED_MAX.get()).unwrap() + 1;
        for id in 1..=all {
            users.find("1").unwrap();
            users.find(&id.to_string()).unwrap();
            users.find("4000000000").unwrap_err();
        }
        let holds = |id| users.with_cache(|cache| cache.contains(&id));
        assert_eq!(users.with_cache(|cache| cache.len()), CACHED_MAX.get());
        assert!(holds(1) && !holds(2) && holds(3) && holds(all));
    }

    #[test]
    fn what_is_no_id_is_told_why_and_not_repeated() {
        let users = Users::default();
        let long = "9".repeat(1_000_000);
        for (id, why) in [
            ("", UserError::Empty),
            ("00", UserError::LeadingZero),
            ("007", UserError::LeadingZero),
            ("+1", UserError::NotDecimal),
            ("-1", UserError::NotDecimal),
            ("1 ", UserError::NotDecimal),
            ("0x1f", UserError::NotDecimal),
            ("\u{661}", UserError::NotDecimal),
            ("12345678901", UserError::TooLong(11)),
            (&long, UserError::TooLong(1_000_000)),
            ("0", UserError::NotFound(0)),
            ("10001", UserError::NotFound(10_001)),
            ("9999999999", UserError::NotFound(9_999_999_999)),
        ] {
            assert_eq!(users.find(id).unwrap_err(), why);
            assert!(why.to_string().len() < 100);
        }
    }
}

//! keepfresh keeps an auth session fresh.
pub mod policy;

//! The one place that reads a clock or rolls dice.
#![allow(clippy::disallowed_methods, reason = "this is the one place")]

use super::js;
use crate::policy::Now;
use gloo_timers::callback::Timeout;
use js_sys::{Date, Math, Promise};
use std::pin::Pin;
use std::task::{Context, Poll};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
}

/// Both clocks, ms.
#[allow(
    clippy::cast_possible_truncation,
    reason = "ms since the epoch fit i64 for ever"
)]
pub(super) fn now() -> Now {
    Now {
        wall: Date::now() as i64,
        mono: performance_now() as i64,
    }
}

/// A number in `[0, 1)` for spreading retries; not for secrets.
pub(super) fn roll() -> f64 {
    Math::random()
}

/// A random id of a login: 96 bits from `crypto`, in hex.
pub(super) fn random_id() -> String {
    random_hex([0; 12])
}

/// A random key of 256 bits, in hex.
pub(super) fn random_key() -> String {
    random_hex([0; 32])
}

fn random_hex<const LENGTH: usize>(mut bytes: [u8; LENGTH]) -> String {
    js::fill_random(&mut bytes);
    let mut id = String::with_capacity(2 * LENGTH);
    for nibble in bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]) {
        id.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
    }
    id
}

/// Waits for `ms`.
pub(super) fn pause(ms: i64) -> Within {
    let alarm = Alarm::after(ms);
    Within {
        first: JsFuture::from(alarm.promise.clone()),
        _alarm: alarm,
    }
}

/// Waits for a promise, but no longer than `ms`: then the outcome is `Ok(undefined)`.
pub(super) fn within(promise: &Promise, ms: i64) -> Within {
    let alarm = Alarm::after(ms);
    Within {
        first: JsFuture::from(js::race(promise, &alarm.promise)),
        _alarm: alarm,
    }
}

/// A wait that ends; see [`pause`] and [`within`]. One type for all waits, so that its code is there
/// once.
pub(super) struct Within {
    first: JsFuture,
    _alarm: Alarm,
}

impl Future for Within {
    type Output = Result<JsValue, JsValue>;

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.first).poll(context)
    }
}

/// A timer as a promise. Dropping it stops the timer, so that no wait outlives its reason.
pub(super) struct Alarm {
    promise: Promise,
    _timeout: Option<Timeout>,
}

impl Alarm {
    /// Rings after `ms`.
    pub(super) fn after(ms: i64) -> Self {
        let ms = u32::try_from(ms.max(0)).unwrap_or(u32::MAX);
        let mut timeout = None;
        let promise = Promise::new(&mut |resolve, _reject| {
            timeout = Some(Timeout::new(ms, move || {
                drop(resolve.call0(&JsValue::UNDEFINED));
            }));
        });
        Self {
            promise,
            _timeout: timeout,
        }
    }

    /// Resolves when it rings.
    pub(super) fn promise(&self) -> &Promise {
        &self.promise
    }
}

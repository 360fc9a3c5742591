//! A look into the body of an answer that goes to the caller unread (behaviour.md 3.18).

use super::clock::Alarm;
use super::js;
use super::json::JsBody;
use crate::policy::error_code;
use js_sys::{Array, Function, JsString, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::Response;

/// The largest error body that is looked into, bytes.
const LARGEST: f64 = 65_536.0;
/// The longest such a look may take, ms.
pub(super) const LONGEST: i64 = 2_000;

/// The code in the JSON body of a 401, read from a copy.
pub(super) async fn code_in(response: &Response) -> Option<String> {
    let kind = response.headers().get("content-type").ok().flatten()?;
    if !kind.contains("json") {
        return None;
    }
    let copy = Copy::of(response)?;
    let patience = Alarm::after(LONGEST);
    let reading = std::pin::pin!(copy.text());
    let text = js::first_of(reading, JsFuture::from(patience.promise().clone())).await;
    error_code(&JsBody::parse(&text.flatten()?)?)
}

/// A second branch of a body. Dropping it stops it, so that what nobody reads is not kept.
struct Copy {
    reader: JsValue,
}

impl Copy {
    fn of(response: &Response) -> Option<Self> {
        let copy = Response::clone(response).ok()?;
        let reader = call(&js::get(&copy, "body"), "getReader")?;
        Some(Self { reader })
    }

    /// All of it, unless it is too long.
    async fn text(&self) -> Option<JsString> {
        let (chunks, mut length) = (Array::new(), 0.0);
        loop {
            let next: Promise = call(&self.reader, "read")?.dyn_into().ok()?;
            let next = JsFuture::from(next).await.ok()?;
            if js::get(&next, "done") == JsValue::TRUE {
                break;
            }
            let chunk = js::get(&next, "value");
            length += js::get(&chunk, "byteLength").as_f64()?;
            if length > LARGEST {
                return None;
            }
            chunks.push(&chunk);
        }
        let blob: Function = js::global("Blob")?.dyn_into().ok()?;
        let blob = Reflect::construct(&blob, &Array::of1(&chunks)).ok()?;
        let text: Promise = call(&blob, "text")?.dyn_into().ok()?;
        JsFuture::from(text).await.ok()?.dyn_into().ok()
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Some(cancelled) = call(&self.reader, "cancel") {
            js::ignore(&cancelled);
        }
    }
}

fn call(target: &JsValue, method: &str) -> Option<JsValue> {
    let method: Function = js::get(target, method).dyn_into().ok()?;
    method.call0(target).ok()
}

//! JavaScript that `web-sys` spells too expensively or not at all: strings stay JavaScript strings
//! on the hot path, and optional globals are looked up without throwing.

use js_sys::{Array, Function, JsString, Object, Promise, Reflect};
use std::pin::Pin;
use std::task::Poll;
use wasm_bindgen::prelude::*;
use web_sys::{Headers, Request, Response};

#[wasm_bindgen]
extern "C" {
    /// A `Request` whose strings are not copied into wasm.
    #[wasm_bindgen(extends = Request, extends = js_sys::Object)]
    #[derive(Clone)]
    pub type Outgoing;
    #[wasm_bindgen(method, getter, structural, js_name = url)]
    pub(super) fn url_js(this: &Outgoing) -> JsString;
    #[wasm_bindgen(method, getter, structural, js_name = mode)]
    pub(super) fn mode_js(this: &Outgoing) -> JsValue;
    #[wasm_bindgen(method, getter, structural, js_name = method)]
    pub(super) fn method_js(this: &Outgoing) -> JsValue;
    #[wasm_bindgen(method, getter, structural, js_name = cache)]
    pub(super) fn cache_js(this: &Outgoing) -> JsValue;
    #[wasm_bindgen(method, getter, structural, js_name = keepalive)]
    pub(super) fn keepalive(this: &Outgoing) -> bool;
    #[wasm_bindgen(method, getter, structural, js_name = headers)]
    pub(super) fn headers_js(this: &Outgoing) -> HeaderMap;

    #[wasm_bindgen(js_name = String)]
    type Text;
    #[wasm_bindgen(method, structural, js_name = startsWith)]
    fn starts_with(this: &Text, prefix: &JsString) -> bool;

    /// `Headers` that take JavaScript strings.
    #[wasm_bindgen(extends = Headers)]
    pub(super) type HeaderMap;
    #[wasm_bindgen(method, structural, js_name = has)]
    pub(super) fn has_js(this: &HeaderMap, name: &JsString) -> bool;
    #[wasm_bindgen(method, structural, catch, js_name = set)]
    pub(super) fn set_js(
        this: &HeaderMap,
        name: &JsString,
        value: &JsString,
    ) -> Result<(), JsValue>;

    /// What the caller gave beside the `Request`: members that are not copied with it.
    #[wasm_bindgen(typescript_type = "Extra | undefined")]
    pub type Extra;
    #[wasm_bindgen(method, getter, structural)]
    pub(super) fn auth(this: &Extra) -> JsValue;
    #[wasm_bindgen(method, getter, structural)]
    pub(super) fn stream(this: &Extra) -> JsValue;
    #[wasm_bindgen(method, getter, structural)]
    pub(super) fn init(this: &Extra) -> JsValue;

    #[wasm_bindgen(catch, js_namespace = crypto, js_name = getRandomValues)]
    fn get_random_values(bytes: &js_sys::Uint8Array) -> Result<JsValue, JsValue>;
}

/// Fills from `crypto`. Where that is missing, ids are still distinct by the roll of dice.
pub(super) fn fill_random(bytes: &mut [u8]) {
    let array = js_sys::Uint8Array::new_with_length(u32::try_from(bytes.len()).unwrap_or(0));
    if get_random_values(&array).is_ok() {
        array.copy_to(bytes);
        return;
    }
    for byte in bytes {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0..256 by construction"
        )]
        let value = (super::clock::roll() * 256.0) as u8;
        *byte = value;
    }
}

/// `text.startsWith(prefix)` without copying either.
pub(super) fn starts_with(text: &JsString, prefix: &JsString) -> bool {
    text.unchecked_ref::<Text>().starts_with(prefix)
}

/// A member, or `undefined` where reading it throws.
pub(super) fn get(target: &JsValue, name: &str) -> JsValue {
    Reflect::get(target, &JsValue::from_str(name)).unwrap_or(JsValue::UNDEFINED)
}

/// A member that is an object or function.
pub(super) fn get_some(target: &JsValue, name: &str) -> Option<JsValue> {
    let value = get(target, name);
    (!value.is_undefined() && !value.is_null()).then_some(value)
}

/// A global, such as `navigator` or `document`, where there is one.
pub(super) fn global(name: &str) -> Option<JsValue> {
    get_some(&js_sys::global(), name)
}

/// Sets an own member; on the plain objects we make this cannot fail.
pub(super) fn set(target: &Object, name: &str, value: &JsValue) {
    drop(Reflect::set(target, &JsValue::from_str(name), value));
}

/// `navigator.onLine`; unknown counts as online (behaviour.md 2.5).
pub(super) fn online() -> bool {
    global("navigator").is_none_or(|navigator| get(&navigator, "onLine") != JsValue::FALSE)
}

/// `Promise.race` of two.
pub(super) fn race(first: &Promise, second: &Promise) -> Promise {
    Promise::race(&Array::of2(first, second))
}

/// Calls a user's function; a returned promise or a plain value both become a promise.
pub(super) fn call_user(function: &Function, arguments: &Array) -> Promise {
    match function.apply(&JsValue::UNDEFINED, arguments) {
        Ok(value) => Promise::resolve(&value),
        Err(error) => Promise::reject(&error),
    }
}

/// Drops the body of an answer that nobody will read, so that its connection is free.
pub(super) fn cancel_body(response: &Response) {
    let body = get(response, "body");
    if let Ok(cancel) = get(&body, "cancel").dyn_into::<Function>()
        && let Ok(promise) = cancel.call0(&body)
    {
        ignore(&promise);
    }
}

/// Marks a promise as handled.
pub(super) fn ignore(promise: &JsValue) {
    let Some(promise) = promise.dyn_ref::<Promise>() else {
        return;
    };
    thread_local! {
        static NOTHING: Closure<dyn FnMut(JsValue)> = Closure::new(|_| {});
    }
    NOTHING.with(|nothing| drop(promise.catch(nothing)));
}

/// A JSON body with its content type.
pub(super) fn json_body(object: &Object) -> (&'static str, JsValue) {
    let text = super::json::stringify(object).map_or(JsValue::NULL, JsValue::from);
    ("application/json", text)
}

/// A form body with its content type.
pub(super) fn form_body(fields: &[(&str, &str)]) -> (&'static str, JsValue) {
    let mut text = String::new();
    for (name, value) in fields {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(&String::from(js_sys::encode_uri_component(name)));
        text.push('=');
        text.push_str(&String::from(js_sys::encode_uri_component(value)));
    }
    (
        "application/x-www-form-urlencoded",
        JsValue::from_str(&text),
    )
}

/// A form body of an object's own members.
pub(super) fn form_of(object: &Object) -> (&'static str, JsValue) {
    let mut fields = Vec::new();
    for name in Object::keys(object).iter() {
        let name = name.as_string().unwrap_or_default();
        let value = get(object, &name);
        let text = value
            .as_string()
            .unwrap_or_else(|| String::from(js_sys::Object::to_string(&Object::from(value))));
        fields.push((name, text));
    }
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    form_body(&fields)
}

/// Sets an own member unless it is there.
pub(super) fn set_default(target: &Object, name: &str, value: &JsValue) {
    if !Object::has_own(target, &JsValue::from_str(name)) {
        set(target, name, value);
    }
}

/// Waits for `work`, or gives up (`None`) when `limit` is done first.
pub(super) async fn first_of<T>(
    mut work: Pin<&mut impl Future<Output = T>>,
    mut limit: impl Future + Unpin,
) -> Option<T> {
    std::future::poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(Some(done));
        }
        Pin::new(&mut limit).poll(context).map(|_| None)
    })
    .await
}

/// A promise of this future's outcome. One function for all futures, so that the glue is there once:
/// it took 7 KB off the module.
pub(super) fn promise(future: impl Future<Output = Result<JsValue, JsValue>> + 'static) -> Promise {
    boxed(Box::pin(future))
}

fn boxed(future: Pin<Box<dyn Future<Output = Result<JsValue, JsValue>>>>) -> Promise {
    wasm_bindgen_futures::future_to_promise(future)
}

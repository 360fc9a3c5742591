//! The policy's errors as JavaScript `Error`s with a stable `code`.

use super::js;
use crate::policy::Error;
use wasm_bindgen::prelude::*;

/// `Error { name: 'KeepfreshError', code, retryable, field?, status?, retryAt?, cause? }`.
pub(super) fn to_js(error: &Error) -> JsValue {
    with_cause(error, &JsValue::UNDEFINED)
}

/// The same with what caused it: a native error, or the body of the answer.
pub(super) fn with_cause(error: &Error, cause: &JsValue) -> JsValue {
    let made = js_sys::Error::new(&error.to_string());
    made.set_name("KeepfreshError");
    js::set(&made, "code", &JsValue::from_str(error.code.as_str()));
    js::set(
        &made,
        "retryable",
        &JsValue::from_bool(error.code.retryable()),
    );
    if let Some(field) = &error.field {
        js::set(&made, "field", &JsValue::from_str(field));
    }
    if let Some(status) = error.status {
        js::set(&made, "status", &JsValue::from(status));
    }
    #[allow(
        clippy::cast_precision_loss,
        reason = "ms since the epoch are exact in f64"
    )]
    if let Some(at) = error.retry_at {
        js::set(&made, "retryAt", &JsValue::from_f64(at as f64));
    }
    if !cause.is_undefined() {
        js::set(&made, "cause", cause);
    }
    made.into()
}

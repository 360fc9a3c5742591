//! JSON text to something the policy can read, without any of it entering wasm but what is asked for.

use super::js;
use crate::policy::{Body, Field};
use js_sys::{JsString, Object};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_namespace = JSON, js_name = parse)]
    fn parse_json(text: &JsString) -> Result<JsValue, JsValue>;
    /// `JSON.stringify`, which throws on cycles and `BigInt`s.
    #[wasm_bindgen(catch, js_namespace = JSON, js_name = stringify)]
    pub(super) fn stringify(value: &JsValue) -> Result<JsString, JsValue>;
}

/// The largest answer that is parsed, in UTF-16 units (behaviour.md 1.14).
const LARGEST: usize = 1 << 20;

/// A parsed JSON object.
pub(super) struct JsBody(JsValue);

impl JsBody {
    /// Parses an object; lists, scalars, garbage and more than 1 MiB are `None`.
    pub(super) fn parse(text: &JsString) -> Option<Self> {
        let short = usize::try_from(text.length()).is_ok_and(|length| length <= LARGEST);
        if !short {
            return None;
        }
        // A byte order mark is not JSON, but servers send it (behaviour.md 1.15).
        let text = if text.starts_with('\u{feff}'.encode_utf8(&mut [0; 3]), 0) {
            text.slice(1, text.length())
        } else {
            text.clone()
        };
        Self::of(&parse_json(&text).ok()?)
    }

    /// Takes a value that is an object already.
    pub(super) fn of(value: &JsValue) -> Option<Self> {
        let object = value.is_object() && !js_sys::Array::is_array(value);
        object.then(|| Self(value.clone()))
    }

    /// The own member at a dotted path as it is.
    pub(super) fn value(&self, path: &str) -> JsValue {
        let mut at = self.0.clone();
        for name in path.split('.') {
            let Some(object) = at.dyn_ref::<Object>() else {
                return JsValue::UNDEFINED;
            };
            // Own members only: a polluted prototype must not answer for the server (behaviour.md 6.12).
            if !Object::has_own(object, &JsValue::from_str(name)) {
                return JsValue::UNDEFINED;
            }
            at = js::get(object, name);
        }
        at
    }

    /// The object itself, for the app.
    pub(super) fn whole(&self) -> JsValue {
        self.0.clone()
    }

    /// The own text member of that name.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.value(name).as_string()
    }

    /// The own text or whole number at a dotted path, as text: an id.
    pub(super) fn name(&self, path: &str) -> Option<String> {
        let number = || self.integer(path).map(|number| number.to_string());
        self.text(path).or_else(number)
    }

    /// The own whole number of that name.
    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "saturates; callers validate the range"
        )]
        self.value(name)
            .as_f64()
            .filter(|number| number.is_finite())
            .map(|number| number as i64)
    }
}

impl Body for JsBody {
    fn get(&self, path: &str) -> Field {
        let value = self.value(path);
        if let Some(text) = value.as_string() {
            return Field::Text(text);
        }
        if let Some(number) = value.as_f64() {
            return Field::Number(number);
        }
        match value.as_bool() {
            Some(flag) => Field::Flag(flag),
            None if value.is_undefined() || value.is_null() => Field::Absent,
            None => Field::Other,
        }
    }
}

//! What is known of a kind of auth server beforehand: one table row each (behaviour.md 1.18).

/// How a refresh call carries its credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// `application/x-www-form-urlencoded` with `grant_type=refresh_token` (RFC 6749 §6).
    Form,
    /// A JSON object.
    Json,
    /// `Authorization: Bearer`, no body.
    Bearer,
}

/// How an endpoint that ends sessions is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goodbye {
    /// POST with the access token as Bearer.
    Bearer,
    /// POST JSON with the refresh token.
    Json,
    /// RFC 7009: POST form `token`, `token_type_hint`.
    Revocation,
}

/// How credentials travel to the login endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hello {
    /// A JSON object: the caller's members as they are.
    Json,
    /// JSON, with Laravel's `remember_me` and `device_name` filled in when absent.
    JsonWithDevice,
    /// A form; `grant_type=authorization_code` and `client_id` filled in when absent (RFC 6749 §4.1.3).
    Form,
}

/// A kind of auth server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// The name in `options.preset`.
    pub name: &'static str,
    /// Paths relative to `baseUrl`; empty = the server has none.
    pub login: &'static str,
    /// Path of the registration endpoint.
    pub register: &'static str,
    /// Path of the refresh endpoint.
    pub refresh: &'static str,
    /// Path of the sign-out endpoint.
    pub logout: &'static str,
    /// Path that ends every session of the person.
    pub logout_all: &'static str,
    /// Path that tells who is signed in.
    pub me: &'static str,
    /// How the login call is made.
    pub hello: Hello,
    /// How the refresh call is made.
    pub carrier: Carrier,
    /// The name of the refresh token in requests.
    pub field: &'static str,
    /// How the sign-out call is made.
    pub goodbye: Goodbye,
    /// Whether a 401 carries a code in its JSON body that decides (`TOKEN_EXPIRED`, `TOKEN_REVOKED`).
    pub codes_in_body: bool,
    /// Whether a response without `token_type` is fine (behaviour.md 1.3).
    pub untyped: bool,
}

impl Preset {
    /// The access token itself is what the refresh call sends, so it must be renewed while it lives.
    pub fn refreshes_with_access_token(&self) -> bool {
        self.carrier == Carrier::Bearer
    }

    /// The preset of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// The names to choose from, for an error message.
    pub const NAMES: &'static str = "must be one of 'sanctum', 'django', 'oauth2'";

    /// What stands in when no preset is chosen: RFC 6749 with no paths known.
    pub fn none() -> &'static Self {
        &CUSTOM
    }
}

const CUSTOM: Preset = Preset {
    name: "",
    login: "",
    register: "",
    refresh: "",
    logout: "",
    logout_all: "",
    me: "",
    hello: Hello::Json,
    carrier: Carrier::Json,
    field: "refresh_token",
    goodbye: Goodbye::Bearer,
    codes_in_body: false,
    untyped: true,
};

const PRESETS: [Preset; 3] = [
    Preset {
        name: "oauth2",
        login: "oauth/token",
        refresh: "oauth/token",
        logout: "oauth/revoke",
        me: "oauth/userinfo",
        hello: Hello::Form,
        carrier: Carrier::Form,
        goodbye: Goodbye::Revocation,
        untyped: false,
        ..CUSTOM
    },
    Preset {
        name: "sanctum",
        login: "api/auth/login",
        register: "api/auth/register",
        refresh: "api/auth/refresh",
        logout: "api/auth/logout",
        logout_all: "api/auth/logout-all",
        me: "api/auth/me",
        hello: Hello::JsonWithDevice,
        carrier: Carrier::Bearer,
        codes_in_body: true,
        ..CUSTOM
    },
    Preset {
        name: "django",
        login: "auth/login/",
        register: "auth/register/",
        refresh: "auth/refresh/",
        logout: "auth/logout/",
        logout_all: "auth/logout-all/",
        me: "auth/me/",
        goodbye: Goodbye::Json,
        ..CUSTOM
    },
];

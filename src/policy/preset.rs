//! What is known of a kind of auth server beforehand: one table row each (behaviour.md 1.18).

use super::response::DeadCodes;

/// How a refresh call carries its credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// `application/x-www-form-urlencoded` with `grant_type=refresh_token` (RFC 6749 §6).
    Form,
    /// A JSON object.
    Json,
    /// `Authorization: Bearer`, no body.
    Bearer,
    /// A cookie that no script can read, no body.
    Cookie,
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
    /// POST with nothing but the cookie.
    Cookie,
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
    /// Path that sets the CSRF cookie.
    pub csrf: &'static str,
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
    /// What this kind of server alone says of a dead credential.
    pub dead_codes: DeadCodes,
    /// A response header that names the error.
    pub code_header: &'static str,
    /// The request header for `options.apiKey`.
    pub key_header: &'static str,
}

/// The CSRF cookie and the request header that repeats it (double submit, behaviour.md 6.22).
pub const CSRF: (&str, &str) = ("XSRF-TOKEN", "X-XSRF-TOKEN");

impl Preset {
    /// The access token itself is what the refresh call sends, so it must be renewed while it lives.
    pub fn refreshes_with_access_token(&self) -> bool {
        self.carrier == Carrier::Bearer
    }

    /// The tokens are cookies: keepfresh never sees one (behaviour.md 6.26).
    pub fn is_tokenless(&self) -> bool {
        self.goodbye == Goodbye::Cookie
    }

    /// The preset of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// The names to choose from, for an error message.
    pub const NAMES: &'static str = "must be one of 'oauth2', 'passport', 'sanctum', 'django', 'simplejwt', 'supabase', 'cookie'";

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
    csrf: "",
    hello: Hello::Json,
    carrier: Carrier::Json,
    field: "refresh_token",
    goodbye: Goodbye::Bearer,
    codes_in_body: false,
    untyped: true,
    dead_codes: &[],
    code_header: "",
    key_header: "apikey",
};

const OAUTH2: Preset = Preset {
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
};

const PRESETS: [Preset; 7] = [
    OAUTH2,
    // Laravel Passport has no revocation endpoint. Its league/oauth2-server answers a dead refresh
    // token with 400 invalid_grant from version 9 on, and with 401 invalid_request before.
    Preset {
        name: "passport",
        logout: "",
        me: "api/user",
        dead_codes: &[(401, "invalid_request")],
        ..OAUTH2
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
    // The paths of simplejwt's documentation; the blacklist app is optional there.
    Preset {
        name: "simplejwt",
        login: "api/token/",
        refresh: "api/token/refresh/",
        logout: "api/token/blacklist/",
        field: "refresh",
        goodbye: Goodbye::Json,
        ..CUSTOM
    },
    // GoTrue, which spells its codes in three places (behaviour.md 1.18).
    Preset {
        name: "supabase",
        login: "auth/v1/token?grant_type=password",
        register: "auth/v1/signup",
        refresh: "auth/v1/token?grant_type=refresh_token",
        logout: "auth/v1/logout?scope=local",
        logout_all: "auth/v1/logout?scope=global",
        me: "auth/v1/user",
        code_header: "x-sb-error-code",
        ..CUSTOM
    },
    // httpOnly cookies of a back end, with Laravel's names for what guards them against CSRF.
    Preset {
        name: "cookie",
        login: "login",
        register: "register",
        refresh: "refresh",
        logout: "logout",
        logout_all: "logout-all",
        me: "me",
        csrf: "sanctum/csrf-cookie",
        carrier: Carrier::Cookie,
        goodbye: Goodbye::Cookie,
        ..CUSTOM
    },
];

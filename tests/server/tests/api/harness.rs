//! Starts servers and talks to them.

use std::path::PathBuf;
use std::time::Duration;

use keepfresh_server::{Options, Running, serve};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use ureq::Agent;
use ureq::http::{HeaderMap, Request};

pub(crate) const ADA: (&str, &str) = ("ada@example.com", "lovelace-1815");
pub(crate) const GRACE: (&str, &str) = ("grace@example.com", "hopper-1906");

/// A server that stops at the end of the test.
pub(crate) struct Server {
    pub(crate) running: Running,
    agent: Agent,
    _runtime: Runtime,
}

/// An answer, fully read.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(
            self.status,
            status,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        self
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Options without rate limits and with faults.
pub(crate) fn relaxed() -> Options {
    Options {
        faults: true,
        login_per_minute: 0,
        refresh_per_minute: 0,
        max_refreshes_per_hour: 0,
        ..Options::default()
    }
}

impl Server {
    pub(crate) fn relaxed() -> Self {
        Self::start(relaxed())
    }

    pub(crate) fn start(options: Options) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let running = runtime.block_on(serve(options)).unwrap();
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(Duration::from_secs(20)))
            .build()
            .new_agent();
        Self {
            running,
            agent,
            _runtime: runtime,
        }
    }

    /// Sends a request to the API, or to an absolute URL.
    pub(crate) fn try_send(
        &self,
        line: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Result<Reply, ureq::Error> {
        let (method, target) = line.split_once(' ').unwrap();
        let url = if target.starts_with('/') {
            format!("http://{}{target}", self.running.api)
        } else {
            target.to_owned()
        };
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.into();
        let bodiless = body.is_empty() && !matches!(method, "POST" | "PUT");
        let mut response = if bodiless {
            self.agent.run(request.body(()).unwrap())
        } else {
            self.agent.run(request.body(body).unwrap())
        }?;
        let body = response.body_mut().read_to_vec()?;
        Ok(Reply {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body,
        })
    }

    #[track_caller]
    pub(crate) fn send(
        &self,
        line: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Reply {
        self.try_send(line, headers, body).unwrap()
    }

    /// Sends JSON.
    #[track_caller]
    pub(crate) fn json(&self, line: &str, body: &Value) -> Reply {
        self.send(
            line,
            &[("content-type", "application/json")],
            body.to_string(),
        )
    }

    /// Sends a form.
    #[track_caller]
    pub(crate) fn form(&self, line: &str, fields: &[(&str, &str)]) -> Reply {
        let body = serde_urlencoded::to_string(fields).unwrap();
        self.send(
            line,
            &[("content-type", "application/x-www-form-urlencoded")],
            body,
        )
    }

    /// Sends a Bearer token and no body.
    #[track_caller]
    pub(crate) fn bearer(&self, line: &str, token: &str) -> Reply {
        self.send(line, &[("authorization", &format!("Bearer {token}"))], "")
    }

    /// A Sanctum token.
    #[track_caller]
    pub(crate) fn sanctum(&self, (email, password): (&str, &str)) -> String {
        let body = json!({ "email": email, "password": password, "remember_me": false, "device_name": "test" });
        text(&self.json("POST /api/auth/login", &body).expect(201).json()["token"])
    }

    /// Django's access and refresh token.
    #[track_caller]
    pub(crate) fn django(&self, (email, password): (&str, &str)) -> (String, String) {
        let body = json!({ "email": email, "password": password });
        pair(&self.json("POST /auth/login/", &body).expect(200).json())
    }

    #[track_caller]
    pub(crate) fn fault(&self, fault: &Value) {
        self.json("POST /__test/faults", fault).expect(200);
    }

    #[track_caller]
    pub(crate) fn clock(&self, offset_s: i64) {
        self.json("POST /__test/clock", &json!({ "offset_s": offset_s }))
            .expect(200);
    }

    /// Sets switches.
    #[track_caller]
    pub(crate) fn switch(&self, change: &Value) {
        self.json("POST /__test/switches", change).expect(200);
    }

    #[track_caller]
    pub(crate) fn wire(&self) -> Value {
        self.send("GET /wire?log=1", &[], "").expect(200).json()
    }
}

/// The string in a JSON value.
#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no string: {value}"))
        .to_owned()
}

/// The access and the refresh token in an answer.
#[track_caller]
pub(crate) fn pair(tokens: &Value) -> (String, String) {
    (
        text(&tokens["access_token"]),
        text(&tokens["refresh_token"]),
    )
}

/// The names of an object's members, sorted.
#[track_caller]
pub(crate) fn members(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

/// A folder that is removed at the end of the test.
pub(crate) struct TempFolder(pub(crate) PathBuf);

impl TempFolder {
    pub(crate) fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("keepfresh-server-{name}-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("www")).unwrap();
        Self(folder)
    }

    /// "secret" lands beside the served folder, everything else inside.
    pub(crate) fn write(&self, name: &str, content: &str) {
        let folder = if name == "secret" {
            self.0.clone()
        } else {
            self.0.join("www")
        };
        std::fs::write(folder.join(name), content).unwrap();
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

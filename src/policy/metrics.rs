//! Counts since the client was created.

/// What `client.metrics()` reports, before it is given its JavaScript names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Requests that went through the policy (allowed origin, no own Authorization).
    pub requests: u32,
    /// Of these and their replays, how many were answered 401 with our token.
    pub unauthorized: u32,
    /// Requests sent a second time after a 401.
    pub replays: u32,
    /// Refresh calls that went out.
    pub refreshes: u32,
    /// Waits that shared a refresh already in flight.
    pub joined: u32,
    /// Tokens taken over from another tab.
    pub adopted: u32,
    /// Refresh calls that failed.
    pub failures: u32,
    /// Requests served by the session cache of an outside source.
    pub cache_hits: u32,
    /// Sign-ins in this tab.
    pub sign_ins: u32,
    /// Sign-outs, here or adopted.
    pub sign_outs: u32,
    /// Duration of the last successful refresh call, ms.
    pub last_refresh: i64,
    /// Sum of the durations of successful refresh calls, ms.
    pub total_refresh: i64,
}

impl Metrics {
    /// Mean duration of a successful refresh call, ms.
    pub fn average_refresh(&self) -> i64 {
        let succeeded = i64::from(self.refreshes.saturating_sub(self.failures));
        self.total_refresh.checked_div(succeeded).unwrap_or(0)
    }
}

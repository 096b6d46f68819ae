//! stub
use std::time::Duration;
#[derive(Clone, Copy, Debug)]
pub struct SlowStart {
    window: Duration,
}
impl SlowStart {
    pub fn new(window: Duration) -> Self {
        Self { window }
    }
    pub fn window(&self) -> Duration {
        self.window
    }
    pub fn factor(&self, elapsed: Duration) -> f64 {
        (elapsed.as_secs_f64() / self.window.as_secs_f64()).clamp(0.1, 1.0)
    }
}

//! stub
#[derive(Clone, Copy, Debug)]
pub struct Panic(f64);
impl Panic {
    pub fn below(percent: f64) -> Self {
        Self(percent)
    }
    pub fn fail_fast() -> Self {
        Self(0.0)
    }
    pub fn is_panic(&self, healthy: usize, total: usize) -> bool {
        total > 0 && (healthy as f64) * 100.0 < self.0 * total as f64
    }
}
impl Default for Panic {
    fn default() -> Self {
        Self(50.0)
    }
}

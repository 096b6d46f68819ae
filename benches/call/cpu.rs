//! The CPU time of this process.

use std::time::Duration;

/// User and system time of all threads so far.
pub(crate) fn time() -> Duration {
    // SAFETY: `rusage` is plain data for which all zeros is a value, and `getrusage` writes only into it.
    #[allow(unsafe_code, reason = "the standard library has no getrusage")]
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &raw mut usage), 0);
        usage
    };
    let duration = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.try_into().unwrap())
            + Duration::from_micros(time.tv_usec.try_into().unwrap())
    };
    duration(usage.ru_utime) + duration(usage.ru_stime)
}

//! Figures: parts of a sample, time of this thread, descriptors.

use std::time::Duration;

/// The smallest value that so many of a hundred do not exceed, in milliseconds; 0 of none.
pub fn percentile_ms(sample: &mut [Duration], percent: usize) -> f64 {
    sample.sort_unstable();
    let at = (sample.len() * percent).div_ceil(100).max(1) - 1;
    sample.get(at).map_or(0.0, |found| found.as_secs_f64() * 1000.0)
}

/// Seconds that this thread has run, as the kernel counts them.
pub fn thread_cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

/// Seconds that this process has run on all threads, those that ended included.
pub fn process_cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name, which may hold blanks: user and system time are the 12th and 13th, in hundredths of a second.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// How many files this process may hold open.
pub fn descriptors() -> usize {
    let text = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    line.split_whitespace().nth(3).and_then(|n| n.parse().ok()).unwrap_or(1024)
}

/// Memory that programs can still have, in MB.
pub fn memory_mb() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_of_the_sample() {
        let mut sample: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!((percentile_ms(&mut sample, 50), percentile_ms(&mut sample, 99)), (100.0, 198.0));
        assert_eq!((percentile_ms(&mut [Duration::from_millis(7)], 99), percentile_ms(&mut [], 99)), (7.0, 0.0));
    }

    #[test]
    fn the_kernel_says_what_is_asked_of_it() {
        let begun = thread_cpu_s();
        while thread_cpu_s() <= begun {
            std::hint::spin_loop();
        }
        assert!(descriptors() >= 256 && memory_mb() > 0);
    }
}

//! A real disk that is full: a file system of a few megabytes in memory, where the machine lets us have one.

use std::{fs, path::PathBuf, process::Command};

use gatehouse_agent::{core::Core, driver::step, store::Store};
use gatehouse_power::{
    depot::{Life, profile},
    machine::identity,
};

/// A mounted file system, gone with its owner.
struct Small(PathBuf);

impl Small {
    fn mount() -> Result<Self, String> {
        let place = std::env::temp_dir().join(format!("gatehouse-small-{}", std::process::id()));
        fs::create_dir_all(&place).map_err(|e| e.to_string())?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "gatehouse-small"])
            .arg(&place)
            .output()
            .map_err(|e| format!("mount: {e}"))?;
        let small = Self(place);
        if mounted.status.success() { Ok(small) } else { Err(String::from_utf8_lossy(&mounted.stderr).trim().into()) }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // What was never mounted cannot be unmounted; either way the directory goes.
        let _ = Command::new("umount").arg(&self.0).output();
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_full_disk_is_waited_for_and_everything_acknowledged_is_there_when_it_has_room_again() {
    let small = match Small::mount() {
        Ok(small) => small,
        Err(why) => {
            gatehouse_skipped::skipped(format!("no small file system can be mounted here: {why}"));
            return;
        }
    };
    let path = small.0.join("agent.db");
    let mut store = Store::open(&path, &identity()).unwrap();
    let mut core = Core::load(profile(), store.snapshot().unwrap());
    let mut life = Life::of(5);
    let mut steps = vec![life.start()];
    steps.extend(life.morning());
    let ballast = small.0.join("ballast");
    let (mut taken, mut refused) = (Vec::new(), 0);
    for n in 0..60 {
        let next = if steps.is_empty() { life.next_step() } else { steps.remove(0) };
        if n == 30 {
            let free = vec![0; 8 << 20];
            // It writes as much as there is room for, then fails: that is what it is for.
            let _ = fs::write(&ballast, free);
        }
        loop {
            match step(&mut core, &mut store, &next.now, &next.inputs) {
                Ok(_) => break taken.push(next),
                Err(full) => {
                    assert!(full.is_passing(), "{full}");
                    refused += 1;
                    assert!(refused < 100, "it never goes on");
                    if refused == 3 {
                        fs::remove_file(&ballast).unwrap();
                    }
                }
            }
        }
    }
    assert!(refused >= 3, "the disk was never full");
    let twin = tempfile::tempdir().unwrap();
    let mut other = Store::open(&twin.path().join("agent.db"), &identity()).unwrap();
    let mut twin_core = Core::load(profile(), other.snapshot().unwrap());
    for next in &taken {
        step(&mut twin_core, &mut other, &next.now, &next.inputs).unwrap();
    }
    drop(store);
    let store = Store::open(&path, &identity()).unwrap();
    let told = |store: &Store| {
        let mut told = vec![format!("{:?}", store.snapshot().unwrap())];
        store.look().readings_since(0, |reading| told.push(format!("{reading:?}"))).unwrap();
        told.push(format!("{:?} {:?}", store.look().decisions(1_000).unwrap(), store.look().outbox(1_000).unwrap()));
        told
    };
    assert_eq!(told(&store), told(&other), "a full disk left a trace");
    println!("{refused} times refused while the disk was full, {} steps taken, all there", taken.len());
}

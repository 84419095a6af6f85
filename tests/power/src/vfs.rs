//! Shows a [`Disk`] to SQLite as a file system.
//!
//! In: calls of SQLite. Out: what the disk says. One connection at a time opens a disk, so locks always succeed.
//! As on Unix, the first to open the shared memory of a write-ahead log empties it, whatever a cut left there.

use std::{
    cell::UnsafeCell,
    collections::BTreeMap,
    ffi::{CStr, c_char, c_int, c_void},
    sync::{
        Arc, Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use rusqlite::{Connection, OpenFlags, ffi};

use crate::disk::{Disk, Failed};

/// Name under which SQLite knows it.
const NAME: &CStr = c"power";

/// A disk that SQLite can open.
#[derive(Debug, Clone)]
pub struct Mounted {
    number: u64,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    disk: Mutex<Disk>,
    memory: Mutex<Vec<Region>>,
}

/// One region of the shared memory of a write-ahead log.
#[derive(Debug)]
struct Region(Box<[UnsafeCell<u8>]>);

// SAFETY: SQLite orders its accesses to the region itself; here it is only made, emptied while nobody has it, and freed.
unsafe impl Send for Region {}

static DISKS: Mutex<BTreeMap<u64, Arc<Shared>>> = Mutex::new(BTreeMap::new());
static NEXT: AtomicU64 = AtomicU64::new(1);
static REGISTER: Once = Once::new();

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mounted {
    /// An empty disk.
    #[must_use]
    pub fn new(disk: Disk) -> Self {
        REGISTER.call_once(register);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::new(Shared { disk: Mutex::new(disk), memory: Mutex::default() });
        lock(&DISKS).insert(number, shared.clone());
        Self { number, shared }
    }

    /// The disk itself.
    #[must_use]
    pub fn disk(&self) -> MutexGuard<'_, Disk> {
        lock(&self.shared.disk)
    }

    /// Name of the one database on it.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/{}/agent.db", self.number)
    }

    /// A connection to the database on it.
    /// # Errors
    /// SQLite's.
    pub fn connect(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Connection::open_with_flags_and_vfs(self.path(), flags, NAME)
    }

    /// Takes the disk away from SQLite.
    pub fn unmount(&self) {
        lock(&DISKS).remove(&self.number);
    }
}

/// A second hold of a connection that has been given away, to look past its owner.
#[derive(Debug)]
pub struct Peephole(*mut ffi::sqlite3);

impl Peephole {
    /// Looks through `conn`, which its owner must outlive.
    #[must_use]
    pub fn of(conn: &Connection) -> Self {
        // SAFETY: the handle is only kept; `look` says when it may be used.
        Self(unsafe { conn.handle() })
    }

    /// Works on the connection.
    /// # Errors
    /// What `work` says.
    pub fn look<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        // SAFETY: a machine drops its peephole together with the store that owns the connection, and both stay on
        // one thread; a connection made from a handle does not close it.
        let conn = unsafe { Connection::from_handle(self.0) }?;
        work(&conn)
    }
}

#[repr(C)]
struct Handle {
    base: ffi::sqlite3_file,
    open: *mut Open,
}

struct Open {
    shared: Arc<Shared>,
    name: String,
    delete_on_close: bool,
    /// Whether its first sync brings the directory to the medium too: on Unix, that of every log and journal that is
    /// opened does, whether or not the file was there.
    directory: AtomicBool,
}

/// Everything that a file handle can do.
static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock_file),
    xUnlock: Some(lock_file),
    xCheckReservedLock: Some(is_reserved),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

fn register() {
    let vfs = ffi::sqlite3_vfs {
        iVersion: 1,
        szOsFile: size_of::<Handle>() as c_int,
        mxPathname: 256,
        pNext: std::ptr::null_mut(),
        zName: NAME.as_ptr(),
        pAppData: std::ptr::null_mut(),
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_pathname),
        xDlOpen: None,
        xDlError: None,
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(randomness),
        xSleep: Some(sleep),
        xCurrentTime: Some(current_time),
        xGetLastError: None,
        xCurrentTimeInt64: None,
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    };
    // SAFETY: SQLite keeps the table for as long as the process lives, so it is leaked.
    unsafe { ffi::sqlite3_vfs_register(Box::leak(Box::new(vfs)), 0) };
}

/// The disk that a path is on, and the file's name there.
fn find(path: &str) -> Option<(Arc<Shared>, String)> {
    let (number, name) = path.strip_prefix('/')?.split_once('/')?;
    let shared = lock(&DISKS).get(&number.parse().ok()?)?.clone();
    Some((shared, name.to_owned()))
}

/// # Safety
/// `text` is null or a C string.
unsafe fn text<'a>(text: *const c_char) -> Option<&'a str> {
    // SAFETY: as the caller says.
    if text.is_null() { None } else { unsafe { CStr::from_ptr(text) }.to_str().ok() }
}

/// # Safety
/// `file` is a handle that [`open`] filled.
unsafe fn opened<'a>(file: *mut ffi::sqlite3_file) -> &'a Open {
    // SAFETY: as the caller says; the box lives until `close`.
    unsafe { &*(*file.cast::<Handle>()).open }
}

fn code(result: Result<(), Failed>, io: c_int) -> c_int {
    match result {
        Ok(()) => ffi::SQLITE_OK,
        Err(Failed::Io) => io,
        Err(Failed::Full) => ffi::SQLITE_FULL,
    }
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let handle = file.cast::<Handle>();
    // SAFETY: SQLite gives `szOsFile` bytes at `file` and a C string or null as name.
    unsafe {
        (*handle).base.pMethods = std::ptr::null();
        let Some((shared, name)) = text(name).and_then(find) else { return ffi::SQLITE_CANTOPEN };
        {
            let mut disk = lock(&shared.disk);
            if disk.is_dead() {
                return ffi::SQLITE_CANTOPEN;
            }
            disk.make(&name);
        }
        let delete_on_close = flags & ffi::SQLITE_OPEN_DELETEONCLOSE != 0;
        let is_log =
            flags & (ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL) != 0;
        let directory = AtomicBool::new(is_log && flags & ffi::SQLITE_OPEN_CREATE != 0);
        (*handle).open = Box::into_raw(Box::new(Open { shared, name, delete_on_close, directory }));
        (*handle).base.pMethods = &raw const METHODS;
        if !out_flags.is_null() {
            *out_flags = flags;
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes each handle once, so the box is taken back once.
    let open = unsafe { Box::from_raw((*file.cast::<Handle>()).open) };
    if open.delete_on_close {
        // A file that is not there any more is what was wanted.
        let _ = lock(&open.shared.disk).delete(&open.name, true);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, into: *mut c_void, amount: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite gives `amount` bytes at `into`.
    let (open, into) = unsafe { (opened(file), std::slice::from_raw_parts_mut(into.cast::<u8>(), amount as usize)) };
    match lock(&open.shared.disk).read(&open.name, offset as usize, into) {
        Ok(n) if n == into.len() => ffi::SQLITE_OK,
        Ok(n) => {
            into[n..].fill(0);
            ffi::SQLITE_IOERR_SHORT_READ
        }
        Err(_) => ffi::SQLITE_IOERR_READ,
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, amount: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite gives `amount` bytes at `from`.
    let (open, from) = unsafe { (opened(file), std::slice::from_raw_parts(from.cast::<u8>(), amount as usize)) };
    code(lock(&open.shared.disk).write(&open.name, offset as usize, from), ffi::SQLITE_IOERR_WRITE)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    // SAFETY: an open handle.
    let open = unsafe { opened(file) };
    code(lock(&open.shared.disk).truncate(&open.name, size as usize), ffi::SQLITE_IOERR_TRUNCATE)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: an open handle.
    let open = unsafe { opened(file) };
    // SQLite on Unix reports every sync that fails as an input/output error, a full device too.
    let mut disk = lock(&open.shared.disk);
    match disk.sync(&open.name) {
        Ok(()) => {
            if open.directory.swap(false, Ordering::Relaxed) {
                disk.sync_names();
            }
            ffi::SQLITE_OK
        }
        Err(_) => ffi::SQLITE_IOERR_FSYNC,
    }
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut i64) -> c_int {
    // SAFETY: an open handle and a place for the size.
    unsafe {
        let open = opened(file);
        *size = lock(&open.shared.disk).size(&open.name) as i64;
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn lock_file(_: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn is_reserved(_: *mut ffi::sqlite3_file, reserved: *mut c_int) -> c_int {
    // SAFETY: a place for the answer.
    unsafe { *reserved = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    crate::disk::SECTOR_BYTES as c_int
}

unsafe extern "C" fn characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    size: c_int,
    extend: c_int,
    at: *mut *mut c_void,
) -> c_int {
    // SAFETY: an open handle.
    let open = unsafe { opened(file) };
    let mut memory = lock(&open.shared.memory);
    while memory.len() <= region as usize && extend != 0 {
        memory.push(Region((0..size).map(|_| UnsafeCell::new(0)).collect()));
    }
    let found = memory.get(region as usize).map_or(std::ptr::null_mut(), |r| r.0.as_ptr().cast_mut().cast());
    // SAFETY: a place for the address.
    unsafe { *at = found };
    ffi::SQLITE_OK
}

unsafe extern "C" fn shm_lock(_: *mut ffi::sqlite3_file, _: c_int, _: c_int, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn shm_barrier(_: *mut ffi::sqlite3_file) {
    std::sync::atomic::fence(Ordering::SeqCst);
}

unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: an open handle. The one connection lets go of it, so nobody has an address in it any more.
    let open = unsafe { opened(file) };
    lock(&open.shared.memory).clear();
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, name: *const c_char, for_good: c_int) -> c_int {
    // SAFETY: a C string.
    let Some((shared, name)) = unsafe { text(name) }.and_then(find) else { return ffi::SQLITE_IOERR_DELETE };
    let deleted = lock(&shared.disk).delete(&name, for_good != 0);
    match deleted {
        Ok(true) => ffi::SQLITE_OK,
        Ok(false) => ffi::SQLITE_IOERR_DELETE_NOENT,
        Err(_) => ffi::SQLITE_IOERR_DELETE,
    }
}

unsafe extern "C" fn access(_: *mut ffi::sqlite3_vfs, name: *const c_char, _: c_int, found: *mut c_int) -> c_int {
    // SAFETY: a C string, and a place for the answer.
    unsafe {
        let Some((shared, name)) = text(name).and_then(find) else { return ffi::SQLITE_IOERR_ACCESS };
        let disk = lock(&shared.disk);
        if disk.is_dead() {
            return ffi::SQLITE_IOERR_ACCESS;
        }
        *found = c_int::from(disk.exists(&name));
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_pathname(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    room: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: a C string, and `room` bytes to write to.
    unsafe {
        let bytes = CStr::from_ptr(name).to_bytes_with_nul();
        if bytes.len() > room as usize {
            return ffi::SQLITE_CANTOPEN;
        }
        std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), out, bytes.len());
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn randomness(_: *mut ffi::sqlite3_vfs, amount: c_int, out: *mut c_char) -> c_int {
    // SAFETY: `amount` bytes to write to.
    let out = unsafe { std::slice::from_raw_parts_mut(out.cast::<u8>(), amount as usize) };
    // SQLite only asks for it once, to begin its own sequence; the same each time, so that a seed is a run.
    out.fill(0x5a);
    amount
}

unsafe extern "C" fn sleep(_: *mut ffi::sqlite3_vfs, micros: c_int) -> c_int {
    micros
}

unsafe extern "C" fn current_time(_: *mut ffi::sqlite3_vfs, out: *mut f64) -> c_int {
    // SAFETY: a place for the time. Nothing in the store asks SQLite for the time.
    unsafe { *out = 2_457_000.0 };
    ffi::SQLITE_OK
}

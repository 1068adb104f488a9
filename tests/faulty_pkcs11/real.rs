//! A real PKCS#11 module, loaded and called directly: what the faulty module forwards to, and what the benchmark
//! compares with.
#![allow(unreachable_pub, reason = "a module of two programs, each with its own use for it")]

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_C_INITIALIZE_ARGS, CK_FUNCTION_LIST, CK_MECHANISM, CK_MECHANISM_TYPE, CK_OBJECT_HANDLE,
    CK_RV, CK_SESSION_HANDLE, CK_SLOT_ID, CK_TOKEN_INFO, CKA_CLASS, CKA_ID, CKF_OS_LOCKING_OK,
    CKF_SERIAL_SESSION, CKO_PRIVATE_KEY, CKR_OK, CKU_USER,
};
use libloading::Library;
use std::cell::Cell;
use std::marker::PhantomData;
use std::path::Path;
use std::ptr::{from_mut, null_mut};

/// A function by name, or the name as an error.
macro_rules! function {
    ($list:expr, $name:ident) => {
        $list.$name.ok_or_else(|| stringify!($name).to_owned())?
    };
}

/// A loaded module. Its functions stay valid as long as it lives.
pub struct Module {
    list: CK_FUNCTION_LIST,
    _library: Library,
}

impl Module {
    /// Loads the module at `path`.
    pub fn load(path: &Path) -> Result<Self, String> {
        type GetFunctionList = unsafe extern "C" fn(*mut *mut CK_FUNCTION_LIST) -> CK_RV;
        // SAFETY: loading runs the module's initializers; the tests name only modules made to be loaded so.
        let library = unsafe { Library::new(path) }.map_err(|error| error.to_string())?;
        let mut list = null_mut();
        // SAFETY: PKCS#11 gives C_GetFunctionList this type; it writes one pointer, to where `list` lives.
        let rv = unsafe {
            let get =
                library.get::<GetFunctionList>(b"C_GetFunctionList").map_err(|error| error.to_string())?;
            get(&mut list)
        };
        check("C_GetFunctionList", rv)?;
        if list.is_null() {
            return Err("C_GetFunctionList gave no list".into());
        }
        Ok(Self {
            // SAFETY: not null, and the module keeps the list for as long as it is loaded.
            list: unsafe { *list },
            _library: library,
        })
    }

    /// The module's functions.
    pub fn functions(&self) -> &CK_FUNCTION_LIST {
        &self.list
    }

    /// `C_Initialize` with the system's locking.
    pub fn initialize(&self) -> Result<(), String> {
        let mut args = CK_C_INITIALIZE_ARGS { flags: CKF_OS_LOCKING_OK, ..CK_C_INITIALIZE_ARGS::default() };
        // SAFETY: the arguments outlive the call.
        let rv = unsafe { function!(self.list, C_Initialize)(from_mut(&mut args).cast()) };
        check("C_Initialize", rv)
    }

    /// The slot that holds the token with `label`.
    pub fn slot(&self, label: &str) -> Result<CK_SLOT_ID, String> {
        let mut slots = [0; 64];
        let mut count = slots.len() as _;
        // SAFETY: `count` says how many slots fit.
        let rv = unsafe { function!(self.list, C_GetSlotList)(1, slots.as_mut_ptr(), &mut count) };
        check("C_GetSlotList", rv)?;
        for slot in slots.into_iter().take(count as usize) {
            let mut info = CK_TOKEN_INFO::default();
            // SAFETY: `info` outlives the call.
            let rv = unsafe { function!(self.list, C_GetTokenInfo)(slot, &mut info) };
            let found = String::from_utf8_lossy(&info.label);
            if rv == CKR_OK && found.trim_end() == label {
                return Ok(slot);
            }
        }
        Err(format!("no token has label {label:?}"))
    }

    /// A read-only session on `slot`.
    pub fn open_session(&self, slot: CK_SLOT_ID) -> Result<Session<'_>, String> {
        let mut handle = 0;
        // SAFETY: no callback is given; `handle` outlives the call.
        let rv = unsafe {
            function!(self.list, C_OpenSession)(slot, CKF_SERIAL_SESSION, null_mut(), None, &mut handle)
        };
        check("C_OpenSession", rv)?;
        Ok(Session { module: self, handle, _not_shared: PhantomData })
    }
}

/// One session. May move to another thread, must not be used by two.
pub struct Session<'a> {
    module: &'a Module,
    handle: CK_SESSION_HANDLE,
    _not_shared: PhantomData<Cell<()>>,
}

impl Session<'_> {
    /// Logs the whole process in as the user.
    pub fn login(&self, pin: &str) -> Result<(), String> {
        // SAFETY: the module reads `pin` and does not keep it.
        let rv = unsafe {
            function!(self.module.list, C_Login)(
                self.handle,
                CKU_USER,
                pin.as_ptr().cast_mut(),
                pin.len() as _,
            )
        };
        check("C_Login", rv)
    }

    /// The first private key with `id`.
    pub fn private_key(&self, id: &[u8]) -> Result<CK_OBJECT_HANDLE, String> {
        let list = &self.module.list;
        let mut class = CKO_PRIVATE_KEY;
        let mut template = [
            CK_ATTRIBUTE {
                type_: CKA_CLASS,
                pValue: from_mut(&mut class).cast(),
                ulValueLen: size_of_val(&class) as _,
            },
            CK_ATTRIBUTE { type_: CKA_ID, pValue: id.as_ptr().cast_mut().cast(), ulValueLen: id.len() as _ },
        ];
        let (mut key, mut count) = (0, 0);
        // SAFETY: template and results outlive the calls; the module only reads what the template points to.
        unsafe {
            let rv = function!(list, C_FindObjectsInit)(self.handle, template.as_mut_ptr(), 2);
            check("C_FindObjectsInit", rv)?;
            let rv = function!(list, C_FindObjects)(self.handle, &mut key, 1, &mut count);
            check("C_FindObjects", rv)?;
            check("C_FindObjectsFinal", function!(list, C_FindObjectsFinal)(self.handle))?;
        }
        if count == 1 { Ok(key) } else { Err("no private key has this id".into()) }
    }

    /// `C_SignInit` and one `C_Sign` into `signature`; returns its length.
    pub fn sign(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        key: CK_OBJECT_HANDLE,
        data: &[u8],
        signature: &mut [u8],
    ) -> Result<usize, String> {
        let list = &self.module.list;
        let mut mechanism = CK_MECHANISM { mechanism, ..CK_MECHANISM::default() };
        let mut length = signature.len() as _;
        // SAFETY: all buffers outlive the calls, and `length` says how much room there is.
        unsafe {
            let rv = function!(list, C_SignInit)(self.handle, &mut mechanism, key);
            check("C_SignInit", rv)?;
            let rv = function!(list, C_Sign)(
                self.handle,
                data.as_ptr().cast_mut(),
                data.len() as _,
                signature.as_mut_ptr(),
                &mut length,
            );
            check("C_Sign", rv)?;
        }
        Ok(length as usize)
    }
}

fn check(function: &str, rv: CK_RV) -> Result<(), String> {
    if rv == CKR_OK { Ok(()) } else { Err(format!("{function}: {rv:#x}")) }
}
